"""What a script imports, followed without running it: what is missing is named, and what may be there after all is never refused."""

from __future__ import annotations

import json
import sys
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tftrainer.messages.contract import Reason
from tftrainer.preflight.check import examine, this_image
from tftrainer.preflight.finding import Findings
from tftrainer.preflight.imports import Image

IMAGE = Image("tf2", lambda name: name in sys.stdlib_module_names or name in {"tensorflow", "numpy", "matplotlib", "absl", "horovod"})


def examined(folder: Path, source: str, *, archive: Path | None = None, image: Image = IMAGE) -> Findings:
    places = (str(folder), *([str(archive)] if archive else []))
    return examine("train.py", source.encode(), places, image, ())


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def zipped(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_a_missing_module_is_named_with_its_line_and_the_three_ways_to_provide_it(tmp_path: Path) -> None:
    [found] = examined(tmp_path, "import os\nimport numpy as np\nimport prettytable.prettytable as p\n").errors
    assert (found.reason, found.file, found.line) == (Reason.IMPORT_MISSING, "train.py", 3)
    assert "'prettytable'" in found.message
    assert "runtime tf2" in found.message
    for way in ("spec.dependencies.archive", "spec.dependencies.files", "spec.runtime"):
        assert way in found.hint


def test_a_module_of_python_2_is_told_its_new_name(tmp_path: Path) -> None:
    [found] = examined(tmp_path, "import urllib2\n").errors
    assert "import urllib.request instead" in found.hint


def test_all_missing_modules_are_found_at_once_and_each_only_once(tmp_path: Path) -> None:
    found = examined(tmp_path, "import a_missing, b_missing\nfrom a_missing import x\nfrom c_missing.d import y\n").errors
    assert [each.line for each in found] == [1, 1, 3]


def test_a_module_that_a_module_of_the_archive_imports_is_followed(tmp_path: Path) -> None:
    archive = zipped(
        tmp_path / "lib.zip", {"lib/__init__.py": "", "lib/a.py": "from .b import X\n", "lib/b.py": "\nimport no_such\nX = 1\n"}
    )
    [found] = examined(tmp_path / "code", "from lib import a\n", archive=archive).errors
    assert (found.file, found.line, found.reason) == ("lib/b.py", 2, Reason.IMPORT_MISSING)


def test_a_syntax_error_in_a_module_that_is_imported_is_found_with_file_and_line(tmp_path: Path) -> None:
    write(tmp_path, {"helper.py": "x = 1\nprint 'x'\n", "unused.py": "def :\n"})
    [found] = examined(tmp_path, "import helper\n").errors
    assert (found.file, found.line, found.reason) == ("helper.py", 2, Reason.SYNTAX_ERROR)


def test_a_return_outside_a_function_is_a_syntax_error_too(tmp_path: Path) -> None:
    [found] = examined(tmp_path, "x = 1\nreturn x\n").errors
    assert (found.file, found.line, found.reason) == ("train.py", 2, Reason.SYNTAX_ERROR)


def test_a_notebook_is_told_from_a_script_with_the_way_to_convert_it(tmp_path: Path) -> None:
    notebook = {"cells": [{"cell_type": "code", "execution_count": None, "source": ["print(1)"]}], "nbformat": 4, "nbformat_minor": 5}
    source = json.dumps(notebook, indent=1) + "\n"
    [found] = examine("train.ipynb", source.encode(), (str(tmp_path),), IMAGE, ()).errors
    assert (found.reason, found.file) == (Reason.SYNTAX_ERROR, "train.ipynb")
    assert "train.ipynb is a Jupyter notebook" in found.message
    assert "jupyter nbconvert --to script" in found.hint
    assert examined(tmp_path, f"NOTEBOOK = {source.replace('null', 'None')}").errors == []
    assert examined(tmp_path, '{"cells": []}').errors == []


PROVIDED = {
    "module.py": {"thing.py": ""},
    "package": {"thing/__init__.py": ""},
    "folder without __init__": {"thing/part.py": ""},
    "compiled": {"thing.cpython-311-x86_64-linux-gnu.so": ""},
}


@pytest.mark.parametrize("form", PROVIDED)
def test_what_lies_beside_the_script_or_in_the_archive_is_found_in_every_form(tmp_path: Path, form: str) -> None:
    assert examined(write(tmp_path, PROVIDED[form]), "import thing\n").errors == []


@pytest.mark.parametrize("form", ["module.py", "package"])
def test_what_lies_in_the_archive_is_found(tmp_path: Path, form: str) -> None:
    found = examined(tmp_path / "code", "import thing\n", archive=zipped(tmp_path / "a.zip", PROVIDED[form]))
    assert found.errors == []


def test_a_part_of_a_package_that_is_not_there_is_named_in_full(tmp_path: Path) -> None:
    write(tmp_path, {"models/__init__.py": "", "models/small.py": ""})
    [found] = examined(tmp_path, "import models.small\nimport models.large\n").errors
    assert ("'models.large'" in found.message, found.line) == (True, 2)


POSSIBLE = {
    "guarded by try": "try:\n    import missing\nexcept ImportError:\n    missing = None\n",
    "under a condition": "import sys\nif sys.version_info[0] == 2:\n    import missing\n",
    "for the type checker": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import missing\n",
    "in a function": "def f():\n    import missing\n",
    "the path is changed": "import sys\nsys.path.append('lib')\nimport missing\n",
    "the path is changed otherwise": "import sys\nsys.path[0:0] = ['lib']\nimport missing\n",
    "the path under another name": "from sys import path\npath.insert(0, 'x')\nimport missing\n",
    "the path through os": "import os, sys\nsys.path += [os.path.dirname(__file__)]\nimport missing\n",
    "site": "import site\nsite.addsitedir('x')\nimport missing\n",
    "pip": "import subprocess, sys\nsubprocess.check_call([sys.executable, '-m', 'pip', 'install', 'missing'])\nimport missing\n",
    "pip by os.system": "import os\nos.system('pip install missing')\nimport missing\n",
    "pip by a function": "def install():\n    pass\ninstall()\nimport missing\n",
    "pip on ImportError": "import sys\ntry:\n    import missing\nexcept ImportError:\n    sys.path.append('x')\nimport missing\n",
    "written by the script": "with open('missing.py', 'w') as f:\n    f.write('x = 1')\nimport missing\n",
    "written by the script in a method": "import pathlib\npathlib.Path('missing.py').write_text('')\nimport missing\n",
    "put into sys.modules": "import sys, types\nsys.modules['missing'] = types.ModuleType('missing')\nimport missing\n",
    "a hook": "import sys\nsys.meta_path.insert(0, object())\nimport missing\n",
    "exec": "exec('import sys; sys.path.append(1)')\nimport missing\n",
    "importlib": "import importlib\nimportlib.import_module('x')\nimport missing\n",
    "the end comes before": "import sys\nsys.exit(0)\nimport missing\n",
    "the end by raise": "raise SystemExit\nimport missing\n",
    "arguments end it": "import argparse\np = argparse.ArgumentParser()\np.parse_args()\nimport missing\n",
    "a decorator": "def install(f):\n    return f\n@install\ndef g():\n    pass\nimport missing\n",
    "a default": "def install():\n    pass\ndef g(x=install()):\n    pass\nimport missing\n",
    "a class body": "import sys\nclass A:\n    sys.path.append('x')\nimport missing\n",
    "a loop": "import sys\nfor p in ['a']:\n    sys.path.append(p)\nimport missing\n",
    "while": "while True:\n    break\nimport missing\n",
    "a module of the image that is not known": "import horovod\nhorovod.init()\nimport missing\n",
    "a module of the image that nobody knows": "import horovod\nimport missing\n",
    "a function that is mapped": "def install(x):\n    pass\nlist(map(install, [1]))\nimport missing\n",
    "a function that is folded over values": "import functools\ndef f(a, b):\n    pass\nfunctools.reduce(f, [1, 2])\nimport missing\n",
    "a function that is a key": "def f(a):\n    pass\nsorted([2, 1], key=f)\nimport missing\n",
    "a lambda that is a key": "import sys\nmax([2, 1], key=lambda a: sys.path.append('x') or a)\nimport missing\n",
    "a function under a second name": "def f(a):\n    pass\ng = f\nsorted([2, 1], key=g)\nimport missing\n",
    "a function in a list": "import functools\ndef f(a, b):\n    pass\nx = [f]\nfunctools.reduce(*x, [1, 2])\nimport missing\n",
    "a function that replaces": "import re\ndef f(m):\n    pass\nre.sub('a', f, 'a')\nimport missing\n",
    "a function for what json does not know": "import json\ndef f(m):\n    pass\njson.dumps(object(), default=f)\nimport missing\n",
    "a function as an attribute": "import types\ndef f():\n    pass\nn = types.SimpleNamespace(go=f)\nn.go()\nimport missing\n",
    "a decorator in disguise": ("import functools\ndef deco(f):\n    pass\n@functools.partial(deco)\ndef g():\n    pass\nimport missing\n"),
    "a decorator that calls": "import operator\n@operator.call\ndef g():\n    pass\nimport missing\n",
    "members of an enumeration": (
        "import enum\nclass E(enum.Enum):\n    A = 1\n    def __init__(self, v):\n        pass\nimport missing\n"
    ),
    "a class with an index": "class A:\n    def __class_getitem__(cls, i):\n        pass\nA[1]\nimport missing\n",
    "an annotation": "def f():\n    pass\ndef g(x: f()):\n    pass\nimport missing\n",
    "an annotation of a name": "def f():\n    pass\nx: f() = 1\nimport missing\n",
    "the path through another module": "import logging\nlogging.sys.path.append('x')\nimport missing\n",
    "the path through a private name": "import argparse\nargparse._sys.path.append('x')\nimport missing\n",
    "the path taken from another module": "from argparse import _sys\n_sys.path.append('x')\nimport missing\n",
    "the path through a value": "import warnings\nw = warnings\ns = w.sys\ns.path.append('x')\nimport missing\n",
    "a lambda in a dictionary": (
        "import sys\nd = {'a': lambda x: sys.path.append('x') or x}\nsorted([2, 1], key=d['a'])\nimport missing\n"
    ),
    "a lambda in a dictionary, called": "import sys\nd = {'a': lambda x: sys.path.append('x')}\nd['a'](1)\nimport missing\n",
    "a lambda in a dictionary, got and called": "def f(x):\n    pass\nd = {'a': f}\nd.get('a')(1)\nimport missing\n",
    "a function that is bound and passed": (
        "import functools\ndef f(x):\n    pass\ng = functools.partial(f, 1)\nsorted([2, 1], key=g)\nimport missing\n"
    ),
    "a function that is bound and called": "import functools\ndef f(x):\n    pass\nfunctools.partial(f, 1).func(1)\nimport missing\n",
    "a function of a property": "def f(x):\n    pass\nproperty(f).fget(1)\nimport missing\n",
    "a function among several": "def f(x):\n    pass\na, b = f, 1\nsorted([2, 1], key=a)\nimport missing\n",
    "a function that a loop takes": "class A:\n    def go():\n        pass\nfor a in [A]:\n    a.go()\nimport missing\n",
    "a function that a comprehension takes": "class A:\n    def go():\n        pass\n[a.go() for a in [A]]\nimport missing\n",
    "a function in place of another": (
        "import warnings\ndef f(*a):\n    pass\nw = warnings\nw.showwarning = f\nw.warn('')\nimport missing\n"
    ),
    "a lambda that is a condition": (
        "import sys\nimport tensorflow as tf\nd = tf.constant(1)\nd[lambda d: sys.path.append('x') or d.a]\nimport missing\n"
    ),
    "a lambda that hands a function on": "def f(x):\n    pass\nsorted([2, 1], key=lambda a: sorted([a], key=f))\nimport missing\n",
    "a decorator of a second name": ("class A:\n    def go(f):\n        pass\nB = A\n@B.go\ndef g():\n    pass\nimport missing\n"),
    "a lambda that keeps a function": "def f(x):\n    pass\nsorted([2, 1], key=lambda a, g=f: sorted([a], key=g))\nimport missing\n",
    "an operator that calls": "import numpy as np\ndef f(x):\n    pass\nx = np.x()\nx += f\nx | f\nimport missing\n",
    "a hook under its name": "def f(cls):\n    pass\nclass A:\n    __init_subclass__ = f\nclass B(A):\n    pass\nimport missing\n",
    "members of an enumeration by a mixin": (
        "import enum\nclass A:\n    def __init__(self, v):\n        pass\nclass E(A, enum.Enum):\n    A = 1\nimport missing\n"
    ),
    "members of an enumeration by a mixin under a second name": (
        "import enum\nclass A:\n    def __init__(self, v):\n        pass\nB = A\nclass E(B, enum.Enum):\n    A = 1\nimport missing\n"
    ),
    "members of an enumeration that is derived": (
        "import enum\nclass B(enum.Enum):\n    pass\nclass E(B):\n    A = 1\n    def __init__(self, v):\n        pass\nimport missing\n"
    ),
    "members of an enumeration by a second name": (
        "from enum import Enum\nB = Enum\nclass E(B):\n    A = 1\n    def __init__(self, v):\n        pass\nimport missing\n"
    ),
    "a property of a member": (
        "from enum import Enum\nclass E(Enum):\n    A = 1\n    @property\n    def p(self):\n        pass\nx = E.A.p\nimport missing\n"
    ),
    "a subclass that does something": "class A:\n    def __init_subclass__(cls):\n        pass\nclass B(A):\n    pass\nimport missing\n",
    "a metaclass": "class M(type):\n    pass\nclass A(metaclass=M):\n    pass\nimport missing\n",
    "built-ins replaced": "import builtins\nbuiltins.__import__ = print\nimport missing\n",
    "a shadowed function": "def print(x):\n    pass\nprint(1)\nimport missing\n",
}


@pytest.mark.parametrize("name", POSSIBLE)
def test_an_import_that_may_succeed_is_not_refused(tmp_path: Path, name: str) -> None:
    assert examined(tmp_path, POSSIBLE[name]).errors == []


LOCAL = {
    "changes the path": "import sys\nsys.path.append('x')\n",
    "ends the program": "import os\nos._exit(0)\n",
    "changes its own path": "__path__ = ['x']\nfrom . import missing_part\n",
    "installs": "import subprocess\nsubprocess.run(['pip'])\n",
}


@pytest.mark.parametrize("name", LOCAL)
def test_after_a_module_of_the_users_that_does_such_things_nothing_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, {"setup_paths.py": LOCAL[name], "pkg/__init__.py": "", "pkg/setup_paths.py": LOCAL[name]})
    for form in ("import setup_paths", "from pkg import setup_paths", "import pkg.setup_paths as s", "from pkg import *"):
        assert examined(tmp_path, f"{form}\nimport missing\n").errors == [], form


def test_ordinary_beginnings_of_programs_leave_a_missing_module_certain(tmp_path: Path) -> None:
    write(tmp_path, {"config.py": "BATCH = 32\nNAMES = [str(i) for i in range(3)]\n\n\ndef f():\n    import sys\n    sys.exit(1)\n"})
    beginning = '''"""Doc."""
from __future__ import print_function
import argparse, enum, logging, os, warnings
import matplotlib
matplotlib.use("Agg")
import numpy as np
import tensorflow as tf
import config

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
warnings.filterwarnings("ignore")
tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.INFO)
logging.basicConfig(level=logging.INFO)
log = logging.getLogger(__name__)
log.setLevel("INFO")
np.random.seed(1)
print("numpy", np.__version__)
try:
    import cPickle as pickle
except ImportError:
    import pickle
HERE = os.path.dirname(os.path.abspath(__file__))


class Model(tf.keras.Model):
    size = 3

    @property
    def x(self):
        return 1

    @x.setter
    def x(self, value):
        pass


class Small(Model):
    pass


class Mode(enum.Enum):
    TRAIN = 1


class Broken(Exception):
    pass


try:
    os.environ["HOME"]
except (KeyError, Broken):
    pass


def truth(text: str) -> bool:
    return text == "yes"


parser = argparse.ArgumentParser()
parser.add_argument("--cache", type=truth)
parser.add_argument("--size", type=lambda text: int(text))


@tf.function
def step(x=np.zeros(3), model: Model | None = None):
    return x


default: Model | None = None


'''
    [found] = examined(tmp_path, beginning + "import missing\n").errors
    assert "'missing'" in found.message


@pytest.mark.parametrize("name", ["sitecustomize", "usercustomize"])
def test_after_a_module_that_runs_before_the_script_nothing_is_refused_but_what_is_no_python(tmp_path: Path, name: str) -> None:
    vendor = {f"{name}.py": "import sys\nsys.path.insert(0, sys.path[0] + '/vendor')\n", "vendor/thing.py": ""}
    archive = zipped(tmp_path / "a.zip", vendor)
    packages = str(write(tmp_path / "packages", vendor))
    source, code = "import thing\n", tmp_path / "code"
    assert examined(code, source, archive=archive).errors == []
    assert examined(code, source, image=this_image("tf2", {}, (packages,))).errors == []
    assert examined(code, source, image=this_image("tf2", {"PYTHONPATH": packages})).errors == []
    reads = b"import argparse\np = argparse.ArgumentParser()\np.parse_args()\n"
    assert examine("train.py", reads, (str(code), str(archive)), IMAGE, ("--x",)).errors == []
    assert [each.reason for each in examined(code, "x = = 1\n", archive=archive).errors] == [Reason.SYNTAX_ERROR]
    # Beside the script Python does not look for it.
    assert len(examined(write(code, vendor), source).errors) == 1


def test_a_runtime_that_has_lost_a_package_says_what_takes_its_place(tmp_path: Path) -> None:
    image = Image("tf1", IMAGE.has, lambda name, line: "gone; use tf.layers" if name.startswith("tensorflow.contrib") else "")
    [found] = examined(tmp_path, "import tensorflow as tf\nimport tensorflow.contrib.slim as slim\n", image=image).errors
    assert (found.line, "use tf.layers" in found.message) == (2, True)


def test_a_module_of_the_image_is_looked_for_without_importing_it(tmp_path: Path) -> None:
    sys.modules.pop("wave", None)
    found = examined(tmp_path, "import wave\nimport surely_not_here_1\n", image=this_image("tf2", {}))
    assert [each.line for each in found.errors] == [2]
    assert "wave" not in sys.modules


def test_what_an_image_adds_to_the_module_path_by_a_variable_is_found_although_fetch_is_isolated_from_it(tmp_path: Path) -> None:
    write(tmp_path / "opt", {"extra_of_the_image.py": ""})
    source = "import extra_of_the_image\n"
    assert len(examined(tmp_path, source, image=this_image("tf2", {})).errors) == 1
    assert examined(tmp_path, source, image=this_image("tf2", {"PYTHONPATH": f"/none:{tmp_path / 'opt'}"})).errors == []
    assert examined(tmp_path, source, image=this_image("tf2", {"PYTHONUSERBASE": "/opt/user"})).errors == []


def test_nothing_of_the_users_code_is_run_and_nothing_written(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    write(tmp_path / "code", {"helper.py": f"open({str(mark)!r}, 'w')\n", "pkg/__init__.py": f"open({str(mark)!r}, 'w')\n"})
    examined(tmp_path / "code", f"import helper\nimport pkg.x\nopen({str(mark)!r}, 'w')\n")
    assert not mark.exists()
    assert sorted(path.name for path in (tmp_path / "code").rglob("*")) == ["__init__.py", "helper.py", "pkg"]
    assert "helper" not in sys.modules


def test_modules_that_import_each_other_come_to_an_end(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "import b\nimport train\n", "b.py": "import a\nimport missing\n", "train.py": "import a\n"})
    [found] = examined(tmp_path, "import a\n").errors
    assert (found.file, found.line) == ("b.py", 2)


def test_an_ordinary_script_takes_less_than_a_tenth_of_a_second(tmp_path: Path) -> None:
    modules = {f"m{number}.py": "import os\nimport json\n\n\ndef f(x):\n    return [y for y in x]\n" * 20 for number in range(5)}
    write(tmp_path, modules)
    source = "".join(f"import m{number}\n" for number in range(5)) + "def g(a):\n    b = a + 1\n    return b\n" * 100
    best = min(_timed(tmp_path, source) for _ in range(5))
    assert best < 0.1


def _timed(folder: Path, source: str) -> float:
    # Time of this process alone: what else the machine does is not the script's cost.
    started = time.process_time()
    assert examined(folder, source).errors == []
    return time.process_time() - started


pieces = st.sampled_from(
    [
        *POSSIBLE.values(),
        *("import os\n", "from . import x\n", "from ..a.b import *\n", "import a.b.c\n", "match 1:\n    case x:\n        pass\n", "\x00"),
        *("é = 1\n", "\ufeff", "# coding: nonsense\n", "\f", "async def f():\n    await x\n", "lambda: (yield)\n", "p.parse_args()\n"),
        *("x: int = 1\n", "import argparse\np = argparse.ArgumentParser()\n", "def main():\n    ", "del x\n", "global y\n"),
        "if __name__ == '__main__':\n    main()\n",
    ]
)


@given(source=st.lists(pieces | st.text(max_size=20), max_size=8).map("".join))
@settings(max_examples=400)
def test_whatever_a_script_is_the_checks_end_with_findings_and_nothing_else(source: str) -> None:
    found = examine("train.py", source.encode("utf-8", "surrogatepass"), ("/nonexistent",), IMAGE, ("--x", "1"))
    assert all(each.message and each.hint for each in found.errors)


@given(source=st.binary(max_size=200))
@settings(max_examples=200)
def test_what_is_no_text_is_a_syntax_error_at_most(source: bytes) -> None:
    found = examine("train.py", source, ("/nonexistent",), IMAGE, ())
    assert {each.reason for each in found.errors} <= {Reason.SYNTAX_ERROR, Reason.IMPORT_MISSING}


def test_a_module_whose_name_is_almost_one_that_is_there_is_answered_with_that_name(tmp_path: Path) -> None:
    write(tmp_path, {"helpers.py": "", "lib/__init__.py": "", "lib/layers.py": ""})
    archive = zipped(tmp_path / "more.zip", {"augmentation.py": ""})
    image = Image("tf2", IMAGE.has, names=lambda: ["numpy", "tensorflow"])
    for missing, meant in (
        ("helper", "helpers"),
        ("lib.layer", "lib.layers"),
        ("augmentatoin", "augmentation"),
        ("tensorfow", "tensorflow"),
    ):
        [found] = examined(tmp_path, f"import {missing}\n", archive=archive, image=image).errors
        assert found.hint.startswith(f"did you mean {meant}? If not, provide it in")
    [found] = examined(tmp_path, "import prettytable\n", archive=archive, image=image).errors
    assert "did you mean" not in found.hint


def test_the_names_of_this_image_are_those_that_can_be_imported() -> None:
    names = set(this_image("tf2", {}).names())
    assert {"json", "msgspec", "sys"} <= names
