"""Prepares the site-packages of an image for the `tf1` runtime: `python3 -m tftrainer_tf1.install FOLDER`, once, while it is built."""

from __future__ import annotations

import os
import py_compile
import re
import sys
from pathlib import Path

HOOK = "tftrainer_tf1.pth"
LIBRARIES = ("tensorflow_estimator", "keras")
"""Packages that say `import tensorflow` and mean version 2."""
_IMPORT = re.compile(rb"^([ \t]*)import tensorflow(?: as (\w+))?[ \t]*$", re.MULTILINE)


def install(site_packages: Path) -> int:
    """Turn the alias on for every interpreter that uses this folder, and return how many library files were adapted.

    These libraries were written when `tensorflow` meant version 2; they are made to name that API, as most of their files do
    already, so that they see no difference. A file is replaced, never written in place: it may be linked to a package cache.
    """
    adapted = 0
    for library in LIBRARIES:
        for file in sorted((site_packages / library).rglob("*.py")):
            source = file.read_bytes()
            changed = _IMPORT.sub(lambda found: found[1] + b"import tensorflow.compat.v2 as " + (found[2] or b"tensorflow"), source)
            if changed != source:
                replacement = file.with_name(f"{file.name}.new")
                replacement.write_bytes(changed)
                replacement.replace(file)
                Path(_bytecode(file)).unlink(missing_ok=True)
                py_compile.compile(os.fspath(file), doraise=True)
                adapted += 1
    (site_packages / HOOK).write_text("import tftrainer_tf1\n")
    return adapted


def _bytecode(file: Path) -> str:
    from importlib.util import cache_from_source

    return cache_from_source(os.fspath(file))


if __name__ == "__main__":
    print(f"{install(Path(sys.argv[1]))} library files adapted")
