"""Ordinary statements at the top of a script: behind each of them the two most frequent mistakes are still found."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tftrainer.messages.contract import Reason
from tftrainer.preflight.check import examine
from tftrainer.preflight.imports import Image

IMAGE = Image("tf2", lambda name: name in sys.stdlib_module_names or name in {"tensorflow", "numpy"})

BEGINNING = """import argparse, os, sys, time, logging
import numpy as np
import tensorflow as tf
from tensorflow.keras import layers
"""
END = """

def parse_args():
    parser = argparse.ArgumentParser(description="x", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    return parser.parse_args()


def main():
    args = parse_args()
    print(args)


if __name__ == "__main__":
    main()
"""
NETWORK = "class Net(tf.keras.Model):\n    def __init__(self):\n        super().__init__()\n"

ORDINARY = {
    "nothing": "",
    "a lambda with a name": "scale = lambda x: x / 255.0\n",
    "a lambda that calls the script's own": "def f(x):\n    pass\nscale = lambda x: f(x)\n",
    "a table of functions": "def a():\n    pass\ndef b():\n    pass\nMODELS = {'a': a, 'b': b}\n",
    "a table of functions and their names": "def a():\n    pass\nMODELS = {'a': a}\nNAMES = ['a', *MODELS]\nDEFAULT = MODELS['a']\n",
    "a table of classes": "class A:\n    pass\nMODELS = {'a': A}\n",
    "a list of lambdas": "STEPS = [lambda x: x + 1, lambda x: np.square(x)]\n",
    "a second name": "def f():\n    pass\ng = f\n",
    "a function with its first argument": "import functools\ndef conv(x):\n    return x\nconv3 = functools.partial(conv, 3)\n",
    "sorting by a lambda": "xs = [2, 1]\nsorted(xs, key=lambda a: -a)\nys = sorted(xs, key=lambda a: int(a))\nprint(ys)\n",
    "a class with a constructor in a module with enum": f"from enum import Enum\n{NETWORK}",
    "an enumeration beside such a class": f"from enum import Enum\nclass Mode(Enum):\n    A = 1\n{NETWORK}DEFAULT = Mode.A\n",
    "an enumeration with a text": (
        "import enum\nclass Mode(str, enum.Enum):\n    A = 'a'\n    def __str__(self):\n        return self.value\n"
    ),
    "a plain class in a module with enum": "import enum\nclass A:\n    def __init__(self):\n        pass\nclass B(A):\n    pass\n",
    "a default of a dataclass": (
        "from dataclasses import dataclass, field\nclass A:\n    pass\n"
        "@dataclass\nclass C:\n    a: A = field(default_factory=A)\n    b: list = field(default_factory=lambda: [1])\n"
    ),
    "a property by its function": "class A:\n    def f(self):\n        pass\n    x = property(f)\n",
    "a function as a default": "def f(x):\n    pass\ndef g(x, activation=f, other=lambda x: f(x)):\n    pass\n",
}


@pytest.mark.parametrize("name", ORDINARY)
def test_behind_an_ordinary_statement_the_ordinary_mistakes_are_found(tmp_path: Path, name: str) -> None:
    beginning = BEGINNING + ORDINARY[name]
    [flag] = examine("train.py", (beginning + END).encode(), (str(tmp_path),), IMAGE, ("--epoch_s", "3")).errors
    assert (flag.reason, "--epoch_s" in flag.message) == (Reason.INVALID_ARGUMENTS, True)
    [missing] = examine("train.py", (beginning + "import no_such\n" + END).encode(), (str(tmp_path),), IMAGE, ()).errors
    assert (missing.reason, "'no_such'" in missing.message) == (Reason.IMPORT_MISSING, True)
