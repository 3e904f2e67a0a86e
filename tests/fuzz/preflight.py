"""Fuzzing of pre-flight: programs and arguments of a grammar of its own beside Python and argparse themselves, and deep and huge ones.

`python tests/fuzz/preflight.py --seconds 600 [--seed 7]` ends with 1 at the first program that breaks a promise, and prints it: what is
refused fails when it really runs; no check raises; none takes more than 64 MiB or 2 s.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import runpy
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tftrainer.fetch.guarded import CPU_SECONDS, MEMORY, guarded
from tftrainer.preflight.check import examine, this_image
from tftrainer.preflight.finding import Findings

SLACK_BYTES = 4 * 1024**2
SLACK_SECONDS = 0.5
ACCEPTED, REFUSED, BROKEN = 20, 21, 22

TENSORFLOW = {
    "__init__.py": "from tensorflow._api.v2 import compat\nfrom tensorflow._api.v2 import train\n"
    "from tensorflow._api.v2.train import constant\n"
    "import sys as _sys\nsetattr(_sys.modules[__name__], 'losses', train)\n",
    "_api/__init__.py": "",
    "_api/v2/__init__.py": "",
    "_api/v2/train/__init__.py": "from tensorflow._ops import Checkpoint\nfrom tensorflow._ops import constant\n",
    "_api/v2/compat/__init__.py": "from tensorflow._api.v2.compat import v1\n",
    "_api/v2/compat/v1/__init__.py": "from tensorflow._ops import constant\nfrom tensorflow._ops import placeholder\n"
    "from tensorflow._ops import Session\nfrom tensorflow._ops import app\nfrom tensorflow._api.v2.compat.v1 import train\n",
    "_api/v2/compat/v1/train/__init__.py": "from tensorflow._ops import Checkpoint\nfrom tensorflow._ops import AdamOptimizer\n",
    "_ops.py": "class _Any:\n    def __init__(self, *a, **k):\n        pass\n    def __enter__(self):\n        return self\n"
    "    def __exit__(self, *a):\n        pass\nCheckpoint = Session = AdamOptimizer = _Any\n"
    "def constant(*a, **k):\n    return 1\nplaceholder = constant\n"
    "class app:\n    @staticmethod\n    def run(main=None, argv=None):\n        import sys\n"
    "        sys.exit((main or sys.modules['__main__'].main)(argv or sys.argv))\n",
}
"""A small TensorFlow 2 that has some names of version 1 in `compat.v1` alone."""

CALM = [
    "x = 1",
    "'''text'''",
    "import os, json",
    "from collections import OrderedDict",
    "NAMES = [str(i) for i in range(3)]",
    "import math",
    "def f(a=1):\n    return a",
    "class A:\n    size = 3\n    def go(self):\n        return 1",
    "class B(Exception):\n    pass",
    "TABLE = {'f': len, 'g': max}",
    "key = lambda a: -a",
    "y = sorted([2, 1], key=lambda a: -a)",
    "print('x')",
    "import logging\nlogging.basicConfig()",
    "try:\n    import surely_missing\nexcept ImportError:\n    pass",
    "import enum\nclass E(enum.Enum):\n    A = 1",
    "import functools\nh = functools.partial(print, 1)",
    "z: int = 3",
    "import tensorflow as tf",
    "c = [1] and 2",
    "from typing import Any",
    "if 1:\n    w = 2",
    "for i in range(2):\n    j = i",
    "import argparse as other",
    "import warnings\nwarnings.filterwarnings('ignore')",
]
LOUD = [
    "import sys\nsys.argv = sys.argv[:1]",
    "import sys\ndel sys.argv[1:]",
    "import sys\nav = sys.argv\nav.clear()",
    "from sys import argv as av\nav.clear()",
    "import sys\nsys.argv.append('--y')",
    "import sys\nsys.argv[1:] = []",
    "import sys\nsys.exit(0)",
    "raise SystemExit",
    "import sys\nsys.path.insert(0, 'lib')",
    "import os\nos.environ.pop('HOME', None)",
    "exec('import sys; sys.argv.clear()')",
    "def g():\n    import sys\n    sys.argv.clear()\ng()",
    "def g():\n    raise SystemExit(0)\nlist(map(lambda a: g(), [1]))",
    "class C:\n    import sys\n    sys.argv.clear()",
    "class D:\n    def __init_subclass__(cls):\n        raise SystemExit\nclass F(D):\n    pass",
    "import enum\nclass G(enum.Enum):\n    A = 1\n    def __init__(self, v):\n        raise SystemExit",
    "def d(f):\n    raise SystemExit\n@d\ndef k():\n    pass",
    "import argparse\nargparse._sys.argv.clear()",
    "def p2(x=exit(0)):\n    pass",
    "import builtins\nbuiltins.len = print",
    "[exit(0) for i in range(1)]",
    "while True:\n    break",
    "with open(__file__) as file:\n    pass",
    "assert 1",
    "import functools\ndef r(a, b):\n    raise SystemExit\nfunctools.reduce(r, [1, 2])",
    "try:\n    import surely_missing\nexcept ImportError:\n    raise SystemExit",
    "import tensorflow as tf\ntf.app = tf.placeholder = tf.Session = print",
    "import argparse\nargparse.ArgumentParser.parse_args = lambda *a: None",
    "import argparse\nargparse.ArgumentParser.error = print",
    "vars()['tf'] = 1",
    "globals().update(argparse=None)",
]
SURELY = [
    "import surely_missing",
    "from surely_missing.part import x",
    "from . import model",
    "from .model import y",
    "import tensorflow.contrib.slim as slim",
    "from tensorflow import contrib",
    "import tensorflow as tf\nq = tf.placeholder(1)",
    "import tensorflow as tf\nq = tf.train.AdamOptimizer()",
    "import tensorflow as tf\nq = tf.constant(1) if 0 else tf.Session()",
    "import tensorflow as tf\nq = [0 and tf.Session(), tf.losses]",
    "import tensorflow as tf\nwith tf.Session() as s:\n    pass",
    "import tensorflow as tf\ndef build():\n    return tf.placeholder(1)\nq = build()",
    "import tensorflow as tf\ndef build(n):\n    for i in n:\n        return 1\n    return tf.placeholder(1)\nq = build([1])",
    "import tensorflow as tf\nq = lambda: tf.Session()",
    "import tensorflow.compat.v1 as tf\nq = tf.Session()",
    "import contextlib\nimport tensorflow as tf\nwith contextlib.suppress(Exception):\n    tf.app",
    "import helper",
    "from helper import x",
    "import other_helper, helper",
    "def f(:",
    "x = = 1",
    "return 1",
    "print 'x'",
]
CHANGES = [
    "argv = [a for a in argv if a != '--x']",
    "argv = argv[2:]",
    "argv += ['--y']",
    "del argv[0:1]",
    "rest = argv\nrest and rest.pop(0)",
    "list.clear(argv)",
    "def inner():\n    argv.clear()\ninner()",
    "def inner():\n    nonlocal argv\n    argv = []\ninner()",
    "print(argv := [])",
    "argv[:] = []",
    "for argv in [[]]:\n    pass",
    "try:\n    int('x')\nexcept ValueError as argv:\n    pass",
    "kept = [argv]\nkept[0].clear()",
    "print(argv)",
    "x = 1",
    "import sys\nsys.argv.clear()",
    "match []:\n    case argv:\n        pass",
    "import os as argv",
]
FLAGS = ["--x", "--epochs", "--rate", "-n", "--no-cache", "--y", "--data-dir"]
KINDS = [
    "",
    ", type=int",
    ", type=float",
    ", type=bool",
    ", type=lambda s: s",
    ", action='store_true'",
    ", nargs='?'",
    ", nargs='*'",
    ", nargs=2",
]
MORE = ["", "", ", required=True", ", default=3", ", choices=['a', 'b']", ", choices=[1, 2]", ", help='x'", ", default='a'", ", dest='d'"]
VALUES = ["3", "-3", "a", "b", "x y", "", "--", "-", "1e3", "é", "--epochs 3", "-n3", "--ep", "-h", "0x10", "a=b"]

DEEP: list[Callable[[int], str]] = [
    lambda n: "if 1: pass\n" + "elif 1: pass\n" * n,
    lambda n: "x = " + "1 + " * n + "1",
    lambda n: "if " + "1 - " * n + "1: pass",
    lambda n: "x = " + "1 if 2 else " * n + "1",
    lambda n: "x = " + "-" * n + "1",
    lambda n: "x = y" + ".a" * n,
    lambda n: "x = y" + "()" * n,
    lambda n: "x = " + "[" * n + "]" * n,
    lambda n: "x = " + "f(" * n + ")" * n,
    lambda n: "x = " + "lambda: " * n + "1",
    lambda n: "".join(" " * i + "if 1:\n" for i in range(n)) + " " * n + "pass",
    lambda n: "lambda: 0\n" * n,
    lambda n: "1, 2, 3, 4.5\n" * n,
    lambda n: "f'{a}{b}'\n" * n,
    lambda n: "def f(x):\n    return [y for y in x]\n" * n,
    lambda n: "".join(f"a{i} = a{i + 1}\n" for i in range(n)) + f"def a{n}(): pass",
    lambda n: "class A0: pass\n" + "".join(f"class A{i}(A{i - 1}): pass\n" for i in range(1, n)),
    lambda n: "import enum\n" + "".join(f"class A{i}(enum.Enum):\n    B = {i}\n" for i in range(n)),
    lambda n: (
        "import argparse\np = argparse.ArgumentParser()\n" + "".join(f"p.add_argument('--a{i}')\n" for i in range(n)) + "p.parse_args()"
    ),
    lambda n: '"""' + "a" * n * 20 + '"""',
    lambda n: '"""' * n,
    lambda n: "\\\n" * n + "x",
    lambda n: "x = '" + "\\" * n,
    lambda n: "import " + ", ".join(f"m{i}" for i in range(n)),
    lambda n: "{" + "1: 2, " * n + "}",
    lambda n: "def f(" + ", ".join(f"a{i}=lambda: a{i}" for i in range(n)) + "): pass",
    lambda n: "import tensorflow as tf\n" + "x = tf.keras.a.b.c.d\n" * n,
    lambda n: "(" * n,
    lambda n: "\x00" * n,
    lambda n: "try: pass\n" + "except A: pass\n" * n,
]


@dataclass
class Program:
    """A program with its modules and arguments."""

    source: str
    args: list[str] = field(default_factory=list)
    beside: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"arguments: {self.args}", *(f"--- {name}\n{text}" for name, text in self.beside.items()), "--- train.py", self.source]
        return "\n".join(parts)


def _parser(draw: random.Random) -> list[str]:
    lines = [f"p = argparse.ArgumentParser({draw.choice(['', '', 'allow_abbrev=False', 'add_help=False'])})"]
    owner = "p"
    if draw.random() < 0.2:
        lines.append(draw.choice(["g = p.add_argument_group()", "g = p.add_mutually_exclusive_group(required=True)"]))
        owner = "g"
    flags = draw.sample(FLAGS, draw.randint(0, 4))
    lines += [f"{draw.choice(['p', owner])}.add_argument('{flag}'{_options(draw)})" for flag in flags]
    if draw.random() < 0.2:
        lines.append("p.add_argument('place'" + draw.choice(["", ", nargs='?'", ", nargs='*'", ", type=int"]) + ")")
    return lines


def _options(draw: random.Random) -> str:
    kind = draw.choice(KINDS)
    return kind + ("" if "store_true" in kind else draw.choice(MORE))


def _some(draw: random.Random, chance_of_loud: float) -> list[str]:
    return [draw.choice(LOUD if draw.random() < chance_of_loud else CALM) for _ in range(draw.randint(0, 4))]


def program(draw: random.Random) -> Program:
    """Draw a program that reads arguments in one of the forms that programs are written in, with much around it that may matter."""
    lines = _parser(draw)
    before = _some(draw, 0.25)
    if draw.random() < 0.4:
        before.insert(draw.randint(0, len(before)), draw.choice(SURELY))
    inside = [draw.choice(CHANGES)] if draw.random() < 0.6 else []
    given = draw.choice(["argv", "argv", "", "argv[1:]"])
    method = draw.choice(["parse_args", "parse_args", "parse_known_args"])
    read = f"args = p.{method}({given})"
    function = lambda name, body: f"def {name}(argv=None):\n{textwrap.indent(chr(10).join(body), '    ')}"  # noqa: E731
    call = draw.choice(["main()", "main(sys.argv[1:])", "main(None)", "sys.exit(main())"])
    guard = draw.choice(["{}", "if __name__ == '__main__':\n    {}", "if '__main__' == __name__:\n    x = 1\n    {}"])
    form = draw.randint(0, 4)
    if form == 0:
        body = [*lines, f"args = p.{method}({draw.choice(['', 'sys.argv[1:]'])})"]
    elif form == 1:
        body = [function("main", [*inside, *lines, read]), guard.format(call)]
    elif form == 2:
        body = [*lines, function("main", [*inside, read]), guard.format(call)]
    elif form == 3:
        reads = function("read", [*(inside if draw.random() < 0.5 else []), *lines, read, "return args"])
        body = [reads, function("main", [*inside, f"read({draw.choice(['argv', ''])})"]), guard.format(call)]
    else:
        run = draw.choice(["tf.app.run(main)", "tf.app.run()", "tf.app.run(main=main)"])
        body = ["import tensorflow.compat.v1 as tf", *lines, function("main", [*inside, read]), guard.format(run)]
    after = [draw.choice(SURELY + CALM)] if draw.random() < 0.2 else []
    beside = {name: "\n".join([*_some(draw, 0.3), "x = 1\n"]) for name in ("helper.py", "lib/late.py") if draw.random() < 0.8}
    args = [draw.choice([*FLAGS, *VALUES, "--x=3", "--epochs=a"]) for _ in range(draw.randint(0, 4))]
    return Program("\n".join(["import argparse, sys", *before, *body, *after, ""]), args, beside)


def deep(draw: random.Random) -> Program:
    """Draw a program that is deep, or huge, or both."""
    size = int(10 ** draw.uniform(1, 5))
    return Program("\n".join([*_some(draw, 0.0), draw.choice(DEEP)(size), *_some(draw, 0.0), "import surely_missing", ""]))


def outcome(script: Path, args: list[str]) -> int:
    """Run a program in a process of its own and tell what came of it."""
    child = os.fork()
    if child == 0:
        code = BROKEN
        try:
            void = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(void, number)
            resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
            os.chdir(script.parent)
            sys.path.insert(0, str(script.parent))
            sys.argv = [str(script), *args]
            sys.path_importer_cache.clear()
            code = ACCEPTED
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as ended:
            code = REFUSED if ended.code == 2 else ACCEPTED
        except BaseException:
            code = BROKEN
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status)


def check(drawn: Program, folder: Path) -> tuple[str, Findings]:
    """Return which promise a program breaks, if any, and what was found."""
    script = folder / "train.py"
    # Also what Python cannot read is written as it is.
    script.write_text(drawn.source, "utf-8")
    for name, text in drawn.beside.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    found = examine("train.py", drawn.source.encode(), (str(folder),), this_image("tf2", {}), drawn.args)
    failed = [each for each in found.warnings if "fault of this check" in each]
    if failed:
        return failed[0], found
    if found.errors and (came := outcome(script, drawn.args)) == ACCEPTED:
        return f"refused, but the program runs ({came}): {found.errors}", found
    return "", found


def check_costs(drawn: Program, folder: Path) -> str:
    """Return what an examination costs too much, if anything."""
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        found = guarded("train.py", lambda: examine("train.py", drawn.source.encode(), (str(folder),), this_image("tf2", {}), ()))
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        fault = next((each for each in found.warnings if "fault of this check" in each), "")
        os.write(writing, f"{used.ru_maxrss * 1024 - before} {used.ru_utime + used.ru_stime} {fault}".encode())
        os._exit(0)
    os.close(writing)
    answer = os.read(reading, 4096).decode()
    os.close(reading)
    os.waitpid(child, 0)
    if not answer:
        return "the check ended its own process"
    grown, seconds, fault = answer.split(" ", 2)
    if int(grown) > MEMORY + SLACK_BYTES or float(seconds) > CPU_SECONDS + SLACK_SECONDS:
        return f"it took {int(grown) / 1024**2:.1f} MiB and {float(seconds):.2f} s"
    return fault


def fuzz(seconds: float, seed: int) -> tuple[int, int, str]:
    """Draw programs until the time is over: how many, how many of them were refused, and what broke a promise, if anything."""
    draw = random.Random(seed)
    count = refused = 0
    with tempfile.TemporaryDirectory() as name:
        site = Path(name) / "site"
        for file, text in TENSORFLOW.items():
            (site / "tensorflow" / file).parent.mkdir(parents=True, exist_ok=True)
            (site / "tensorflow" / file).write_text(text)
        sys.path.insert(0, str(site))
        try:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                count += 1
                with tempfile.TemporaryDirectory(dir=name) as folder:
                    if count % 20 == 0:
                        drawn = deep(draw)
                        wrong = check_costs(drawn, Path(folder))
                    else:
                        drawn = program(draw)
                        wrong, found = check(drawn, Path(folder))
                        refused += bool(found.errors)
                if wrong:
                    return count, refused, f"program {count} of seed {seed}: {wrong}\n{str(drawn)[:4000]}"
        finally:
            sys.path.remove(str(site))
    return count, refused, ""


def main() -> int:
    """Fuzz for some time; the seed is printed, and can be given to draw the same programs again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    count, refused, wrong = fuzz(given.seconds, given.seed)
    print(wrong or f"{count} programs, {refused} of them refused, and rightly")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
