"""Each mistake as one row: what the user wrote, and what is read before the start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tftrainer.messages.contract import Reason
from tftrainer.preflight.check import examine
from tftrainer.preflight.finding import Findings
from tftrainer.preflight.image import Image

INSTALLED = ["keras", "matplotlib", "numpy", "tensorflow", "tftrainer", "tftrainer_tf1", *sys.stdlib_module_names]
IMAGE = Image("tf2", lambda name: name in INSTALLED, names=lambda: INSTALLED)


def examined(folder: Path, source: str | bytes, args: tuple[str, ...] = (), *, name: str = "train.py", **beside: str) -> Findings:
    content = source if isinstance(source, bytes) else source.encode()
    (folder / name).write_bytes(content)
    for module, text in beside.items():
        (folder / f"{module}.py").write_text(text)
    return examine(name, content, (str(folder),), IMAGE, args)


def told(found: Findings) -> str:
    return "\n".join([*(f"{each.reason}: {each.message} ({each.hint})" for each in found.errors), *found.warnings])


NOT_PYTHON = {
    "a shell script by its first line": (b"#!/bin/bash\npython train.py\n", ["is a shell script, expected a Python program", "spec.args"]),
    "a shell script by env": (b"#!/usr/bin/env -S bash\nls $HOME\n", ["is a shell script"]),
    "a shell script by its commands": (b"set -e\npip install x\n", ["is a shell script", "spec.dependencies.requirements"]),
    "a program of node": (b"#!/usr/bin/env node\nlet x = 1\n", ["is a program for node"]),
    "a notebook": (b'{"cells": [{"x": null}], "nbformat": 4 }', ["is a Jupyter notebook", "jupyter nbconvert --to script"]),
    "YAML": (b"apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n", ["is YAML", "spec.script.uri"]),
    "HTML": (b"<!DOCTYPE html>\n<html><body>x</body></html>", ["is an HTML page", "raw file"]),
    "a zip": (b"PK\x03\x04xx", ["is a zip archive", "spec.dependencies.archive"]),
    "an ELF file": (b"\x7fELF\x02\x01\x01\x00", ["is a compiled program"]),
    "compiled Python": (b"\xa7\r\r\n\x00\x00\x00\x00zzzzzzzz\xe3", ["is compiled Python", ".py"]),
    "weights": (b"\x89HDF\r\n\x1a\n\x00", ["is an HDF5 file"]),
    "a table": (b"name,kind,size\nx,a b,1\ny,c d,2\n", ["is a table of values (CSV)", "spec.inputs"]),
    "a Dockerfile": (b"FROM python:3\nRUN pip install x\n", ["is a Dockerfile"]),
    "a command of a notebook": (b"import os\n!pip install x\n", ["line 2", "commands of a notebook", "spec.dependencies.requirements"]),
    "magic of a notebook": (b"import os\n%matplotlib inline\n", ["line 2", "commands of a notebook"]),
}


@pytest.mark.parametrize("name", NOT_PYTHON)
def test_what_is_no_python_is_told_as_what_it_is(tmp_path: Path, name: str) -> None:
    source, words = NOT_PYTHON[name]
    [found] = (findings := examined(tmp_path, source)).errors
    assert found.reason is Reason.SYNTAX_ERROR
    assert [word for word in words if word not in told(findings)] == []


@pytest.mark.parametrize("source", ["1,2,3\n4,5,6\n", "{}\n", "#!/bin/sh\nx = 1\n", "a: int\nb: int\n", "'''\n#!/bin/bash\n'''\n"])
def test_what_is_valid_python_is_taken_for_it_whatever_it_looks_like(tmp_path: Path, source: str) -> None:
    assert examined(tmp_path, source).errors == []


PYTHON_2 = {
    "print": "print 'x'\n",
    "print into": "import sys\nprint >>sys.stderr, 'x' % 1, 'y' 'z' w\n",
    "except": "try:\n    pass\nexcept IOError, e:\n    pass\n",
    "backticks": "x = `1`\n",
    "exec": "exec 'x'\n",
    "octal": "x = 0777\n",
    "ur": "x = ur'a'\n",
    "not equal": "if 1 <> 2:\n    pass\n",
    "raise": "raise ValueError, 'x'\n",
    "tabs": "if 1:\n        x = 1\n\ty = 1\n",
    "long": "x = 10L\n",
}


@pytest.mark.parametrize("name", PYTHON_2)
def test_python_2_is_told_by_more_than_print(tmp_path: Path, name: str) -> None:
    found = examined(tmp_path, PYTHON_2[name])
    assert "Python 2" in told(found)
    assert "2to3 -w train.py" in told(found)


def test_an_ordinary_typing_error_is_not_called_python_2(tmp_path: Path) -> None:
    for source in ("x = = 1\n", "def f(:\n", "x = 1 +\n", "printer 'x'\n"):
        assert "Python 2" not in told(examined(tmp_path, source)), source


UNDECODABLE = {
    "another encoding": ("x = 1\ny = 'é'\n".encode("latin-1"), ["line 2", "byte 6", "0xe9", "coding: latin-1"]),
    "a coding line that is wrong": ("# coding: ascii\nx = 'é'\n".encode(), ["line 2", "byte 6", "not ascii"]),
    "a coding that there is not": (b"# coding: nonsense\nx = 1\n", ["coding line", "nonsense"]),
    "UTF-16": ("x = 1\n".encode("utf-16"), ["UTF-16", "save it as UTF-8"]),
    "a null byte": (b"x = 1\ny = 1\x00\n", ["line 2", "byte 6", "0x00"]),
}


@pytest.mark.parametrize("name", UNDECODABLE)
def test_bytes_that_are_no_text_are_told_by_file_line_and_byte_with_what_to_do(tmp_path: Path, name: str) -> None:
    source, words = UNDECODABLE[name]
    found = examined(tmp_path, source)
    assert [each.reason for each in found.errors] == [Reason.SYNTAX_ERROR]
    assert [word for word in ["train.py", "UTF-8", *words] if word not in told(found)] == []


PARSER = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--epochs', type=int)\np.add_argument('--rate', type=float)\n"


def test_two_words_in_one_item_are_told_as_two_items_and_not_as_a_typing_error(tmp_path: Path) -> None:
    [found] = examined(tmp_path, f"{PARSER}p.parse_args()\n", ("--epochs 3",)).errors
    assert "spec.args[0] is '--epochs 3'" in found.message
    assert found.hint == 'write two items: `- --epochs`, `- "3"`, or one: `- --epochs=3`'
    [found] = examined(tmp_path, f"{PARSER}p.parse_args()\n", ("--epochs 3 --rate 0.1",)).errors
    assert found.hint == 'write four items: `- --epochs`, `- "3"`, `- --rate`, `- "0.1"`'
    assert "two items" in told(examined(tmp_path, f"{PARSER}p.parse_known_args()\n", ("--epochs 3",)))
    required, unknown = examined(tmp_path, f"{PARSER}p.add_argument('--x', required=True)\np.parse_args()\n", ("--x 3",)).errors
    assert required.hint == unknown.hint


@pytest.mark.parametrize("way", ["from . import model", "from .model import Net", "from . import model as m, other", "from .. import x"])
def test_a_relative_import_of_the_script_is_refused_with_both_ways_out(tmp_path: Path, way: str) -> None:
    [found] = examined(tmp_path, f"import os\n{way}\n", model="Net = 1\n").errors
    assert (found.reason, found.line) == (Reason.IMPORT_MISSING, 2)
    assert "relative to a package" in found.message
    assert "spec.script.module" in found.hint
    if ".." not in way:
        assert way.replace("from . import", "import").replace("from .model", "from model") in found.hint


@pytest.mark.parametrize("guard", ["try:\n    {}\nexcept ImportError:\n    pass\n", "def f():\n    {}\n", "if x:\n    {}\n"])
def test_a_relative_import_that_need_not_happen_is_left_alone(tmp_path: Path, guard: str) -> None:
    assert examined(tmp_path, guard.format("from . import model")).errors == []


def test_in_a_module_of_a_package_relative_imports_are_followed(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "model.py").write_text("import surely_missing\n")
    source = b"from . import model\nfrom .layers import x\n"
    found = examine("train.py", source, (str(tmp_path),), IMAGE, (), package="pkg").errors
    assert [(each.file, each.line) for each in found] == [("pkg/model.py", 1), ("train.py", 2)]
    assert "'pkg.layers'" in found[1].message
    (package / "__init__.py").write_text("raise SystemExit\n")
    assert examine("train.py", source, (str(tmp_path),), IMAGE, (), package="pkg").errors == []


@pytest.mark.parametrize(
    ("missing", "meant"),
    [("helpes", "helpers"), ("tensorfow", "tensorflow"), ("colections", "collections"), ("nmupy", "numpy"), ("kears", "keras")],
)
def test_a_name_that_is_nearly_certain_is_proposed(tmp_path: Path, missing: str, meant: str) -> None:
    [found] = examined(tmp_path, f"import {missing}\n", helpers="").errors
    assert found.hint.startswith(f"did you mean {meant}?")


@pytest.mark.parametrize("missing", ["util", "tensorflow_hub", "tftrain", "tftraine", "tftraining", "jsn", "tensorflow_addons", "trian"])
def test_nothing_is_proposed_that_is_not(tmp_path: Path, missing: str) -> None:
    [found] = examined(tmp_path, f"import {missing}\n").errors
    assert "did you mean" not in found.hint


HIDES = {
    "code.py": "from tensorflow import keras\nprint(keras.__version__)\n",
    "tensorflow.py": "from tensorflow import keras\nprint(keras.__version__)\n",
    "inspect.py": "import tensorflow as tf\n",
    "keras.py": "import keras\nmodel = keras.Model()\n",
    "numpy.py": "import numpy as np\nx = np.zeros(3)\n",
    "random.py": "import tensorflow as tf\nx = tf.constant(1)\n",
    "string.py": "import tensorflow.keras\nfrom tensorflow import keras\n",
    "pdb.py": "import os, sys\nimport tensorflow as tf\ny = [tf.zeros(1)]\n",
}


@pytest.mark.parametrize("name", HIDES)
def test_a_script_that_hides_a_module_which_is_surely_imported_is_refused_with_its_name(tmp_path: Path, name: str) -> None:
    [found] = examined(tmp_path, HIDES[name], name=name).errors
    assert f"{name} hides the module {name.removesuffix('.py')!r}" in found.message
    assert found.hint == f"rename {name}, such as to my_{name}"


def test_a_helper_that_hides_a_module_is_refused_where_that_cannot_work(tmp_path: Path) -> None:
    [found] = examined(tmp_path, "import tensorflow as tf\n", inspect="def look():\n    pass\n").errors
    assert "inspect.py hides the module 'inspect'" in found.message
    assert "TensorFlow imports" in found.message
    (tmp_path / "inspect.py").unlink()
    [found] = examined(tmp_path, "from numpy import zeros\n", numpy="ones = 1\n").errors
    assert "what train.py, line 1, imports" in found.message


MAY_RUN = {
    "types, which Python has loaded": ("import types\nx = types.SimpleNamespace()\nimport tensorflow as tf\n", "types.py", {}),
    "a helper that nobody imports": ("import os\n", "train.py", {"random": "x = 1\n"}),
    "a helper that nothing uses": ("import tensorflow as tf\n", "train.py", {"code": "CODES = {}\n"}),
    "a helper with what is needed": ("import tensorflow as tf\n", "train.py", {"inspect": "from .x import *\n"}),
    "a helper that has the names": ("import tensorflow as tf\n", "train.py", {"copy": "def deepcopy(x):\n    return x\n"}),
    "a helper of that purpose": ("from numpy import zeros\n", "train.py", {"numpy": "def zeros():\n    pass\n"}),
    "a helper that makes its names": ("from numpy import zeros\n", "train.py", {"numpy": "def __getattr__(name):\n    return 1\n"}),
    "a helper that ends the program": ("from numpy import zeros\n", "train.py", {"numpy": "import sys\nsys.exit(0)\n"}),
    "a guarded import": ("try:\n    from tensorflow import keras\nexcept ImportError:\n    pass\n", "code.py", {}),
    "an import in a function": ("def f():\n    import tensorflow\n", "inspect.py", {}),
    "a script that uses nothing": ("import tensorflow as tf\n", "code.py", {}),
    "a script that something else imports first": ("import pdb\nfrom tensorflow import keras\n", "code.py", {}),
    "a script that the image imports first": ("import matplotlib\nfrom tensorflow import keras\n", "code.py", {}),
    "a script that something else may import first": (
        "try:\n    import pandas\nexcept ImportError:\n    pass\nfrom tensorflow import keras\n",
        "csv.py",
        {},
    ),
    "a script whose import may fail": ("from tensorflow import keras\n", "bz2.py", {}),
    "a script whose import may fail, although its contents are needed": ("from tensorflow import keras\n", "ssl.py", {}),
    "utils": ("import utils\nimport tensorflow as tf\n", "train.py", {"utils": "x = 1\n"}),
}


@pytest.mark.parametrize("name", MAY_RUN)
def test_a_file_with_the_name_of_a_module_that_may_run_all_the_same_is_not_refused(tmp_path: Path, name: str) -> None:
    source, script, beside = MAY_RUN[name]
    assert examined(tmp_path, source, name=script, **beside).errors == []


def test_where_it_may_run_all_the_same_the_log_warns_with_the_remedy(tmp_path: Path) -> None:
    [warning] = examined(tmp_path, "import tensorflow as tf\n", code="CODES = {}\n").warnings
    assert "code.py hides the module 'code'" in warning
    assert "rename code.py" in warning


UNCHECKED = {
    "the script reads a file": ("x = open('f')\nimport json\n", {}, "train.py, line 1,"),
    "a module reads a file": ("import helper\n", {"helper": "import os\nx = open('f')\n"}, "helper.py, line 2,"),
    "a module of the image that nobody knows": (
        "import keras_tuner\n",
        {"keras_tuner": "import os\nos.system('x')\n"},
        "keras_tuner.py, line 2,",
    ),
    "in the function that reads them": (
        "def main():\n    x = open('f')\n    p = argparse.ArgumentParser()\n    p.parse_args()\nmain()\n",
        {},
        "line 2",
    ),
}


@pytest.mark.parametrize("name", UNCHECKED)
def test_the_log_says_in_one_line_what_was_not_checked_and_why(tmp_path: Path, name: str) -> None:
    source, beside, place = UNCHECKED[name]
    whole = f"{source}{PARSER}p.parse_args()\n" if "main" not in source else f"import argparse\n{source}".replace("line 2", "line 3")
    found = examined(tmp_path, whole, ("--epochs", "many"), **beside)
    assert found.errors == []
    [line] = [fact for fact in found.facts if "not checked" in fact]
    assert "the arguments" in line
    assert (place if "main" not in source else "line 3") in line


def test_where_there_is_nothing_to_check_nothing_is_said_of_it(tmp_path: Path) -> None:
    assert examined(tmp_path, "x = open('f')\nimport json\n", ("a",)).facts == ["train.py is Python"]
