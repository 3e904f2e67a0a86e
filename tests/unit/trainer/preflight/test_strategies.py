"""Strategies that cannot train on the replicas of their job: each script as one row, and what is read of it before the start."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from tftrainer.messages.contract import Plan, Reason, Script
from tftrainer.preflight.check import examine
from tftrainer.preflight.finding import Findings
from tftrainer.preflight.image import Image
from tftrainer.preflight.strategies import MEASURED, Group

INSTALLED = ["keras", "numpy", "sklearn", "tensorflow", "tf_keras", "tftrainer", *sys.stdlib_module_names]
IMAGE = Image("tf2", lambda name: name in INSTALLED, names=lambda: INSTALLED, keras=f"{MEASURED}1")
TWO = Group(2, servers=False, keras=True)
WITH_SERVER = Group(2, servers=True, keras=True)

IMPORTS = "import numpy as np\nimport tensorflow as tf\nfrom tensorflow import keras\n"
MADE = "strategy = tf.distribute.MultiWorkerMirroredStrategy()\n"
MODEL = "model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])\n"
FIT = "model.fit(np.zeros((8, 1)), np.zeros((8, 1)), epochs=2)\n"
PARSED = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--epochs', type=int, default=2)\n"


def within(text: str) -> str:
    return "with strategy.scope():\n" + "".join(f"    {line}\n" for line in text.splitlines())


def examined(folder: Path, source: str, group: Group | None = TWO, args: tuple[str, ...] = (), **beside: str) -> Findings:
    (folder / "train.py").write_text(source)
    for module, text in beside.items():
        (folder / f"{module}.py").write_text(text)
    return examine("train.py", source.encode(), (str(folder),), IMAGE, args, group=group)


KERAS = {
    "straight lines": IMPORTS + MADE + within(MODEL + "model.compile('sgd', 'mse')\n") + FIT,
    "a functional model of keras itself": (
        "import keras\nimport tensorflow as tf\n"
        + MADE
        + within("i = keras.Input((1,))\nmodel = keras.Model(i, keras.layers.Dense(1)(i))\n")
        + "history = model.fit([1.0], [2.0])\n"
    ),
    "a model that a function makes": (
        IMPORTS + f"def build():\n    {MODEL}    model.compile('sgd', 'mse')\n    return model\n" + MADE + within("model = build()\n") + FIT
    ),
    "in main": (
        IMPORTS
        + "def main():\n"
        + "".join(f"    {line}\n" for line in (MADE + within(MODEL) + FIT).splitlines())
        + "if __name__ == '__main__':\n    main()\n"
    ),
    "a strategy that is handed over": (
        IMPORTS
        + "def train(s):\n    with s.scope():\n        "
        + MODEL
        + "    "
        + FIT
        + "strategy = tf.distribute.experimental.MultiWorkerMirroredStrategy()\ntrain(strategy)\n"
    ),
    "after arguments that its parser takes": IMPORTS + PARSED + "a = p.parse_args()\n" + MADE + within(MODEL) + FIT,
    "after looks at variables, and one that is set": IMPORTS
    + "import os\nos.environ['TF_CPP_MIN_LOG_LEVEL'] = '2'\nhome = os.environ.get('HOME')\nci = 'CI' in os.environ\n"
    + MADE
    + within(MODEL)
    + FIT,
    "after a look at the cluster": IMPORTS
    + "import json, os\ntask = json.loads(os.environ['TF_CONFIG'])['task']\n"
    + MADE
    + within(MODEL)
    + FIT,
}


@pytest.mark.parametrize("name", KERAS)
def test_fit_of_keras_3_on_two_workers_is_refused_where_it_is_surely_reached(tmp_path: Path, name: str) -> None:
    [found] = examined(tmp_path, KERAS[name], args=("--epochs", "3") if "arguments" in name else ()).errors
    assert (found.reason, found.file) == (Reason.INVALID_SPEC, "train.py")
    line = KERAS[name].splitlines()[(found.line or 0) - 1]
    assert "model.fit(" in line
    assert f"line {found.line}: fit of Keras 3 does not train on 2 replicas" in found.message
    assert "TF_USE_LEGACY_KERAS=1" in found.hint


def test_a_model_outside_of_the_scope_may_be_meant_and_is_told_as_many_trainings(tmp_path: Path) -> None:
    found = examined(tmp_path, IMPORTS + MADE + "n = strategy.num_replicas_in_sync\n" + MODEL + "model.compile('sgd', 'mse')\n" + FIT)
    assert found.errors == []
    [said] = found.warnings
    assert "line 8: each of the 2 replicas would train a model of its own" in said
    assert "if that is not meant, as for an ensemble, make and compile it in `with strategy.scope():`" in said


def test_parameter_servers_beside_a_collective_strategy_are_refused_whatever_is_trained(tmp_path: Path) -> None:
    [found] = examined(tmp_path, IMPORTS + "options = tf.distribute.experimental.CommunicationOptions()\n" + MADE, WITH_SERVER).errors
    assert (found.reason, found.line) == (Reason.INVALID_SPEC, 5)
    assert "spec.replicas.ps" in found.message
    assert "leave spec.replicas.ps out" in found.hint


OS = "import os\n"
SILENT = {
    "a job of one": (KERAS["straight lines"], None),
    "one trainer": (KERAS["straight lines"], Group(1, servers=False, keras=True)),
    "another Keras by a variable of the job": (KERAS["straight lines"], Group(2, servers=False, keras=False)),
    "another Keras by the script": ("import os\nos.environ['TF_USE_LEGACY_KERAS'] = '1'\n" + KERAS["straight lines"], TWO),
    "tf_keras": (KERAS["straight lines"].replace("from tensorflow import keras", "import tf_keras as keras"), TWO),
    "another cluster": ("import os\nos.environ['TF_CONFIG'] = '{}'\n" + KERAS["straight lines"], WITH_SERVER),
    "no cluster": ("import os\ndel os.environ['TF_CONFIG']\n" + KERAS["straight lines"], WITH_SERVER),
    "a strategy of one process": (KERAS["straight lines"].replace("MultiWorker", ""), WITH_SERVER),
    "something else that fits": (IMPORTS + MADE + "from sklearn.linear_model import LinearRegression as L\nmodel = L()\n" + FIT, TWO),
    "a cluster that is handed over": (
        IMPORTS + "r = tf.distribute.cluster_resolver.TFConfigClusterResolver()\n" + MADE.replace("()", "(cluster_resolver=r)"),
        WITH_SERVER,
    ),
    "something else that fits, beside a model": (
        IMPORTS + MADE + "from sklearn.preprocessing import StandardScaler as S\nexit()\ns = S()\ns.fit([[1]])\n" + MODEL,
        TWO,
    ),
    "variables that a loop deletes": (f"{OS}for k in list(os.environ):\n    del os.environ[k]\n" + KERAS["straight lines"], TWO),
    "variables that are all cleared": (f"{OS}os.environ.clear()\n" + KERAS["straight lines"], WITH_SERVER),
    "variables of a file": (f"{OS}import json\nos.environ.update(json.loads('{{}}'))\n" + KERAS["straight lines"], TWO),
    "a variable of any name": (f"{OS}n = 'TF_' + 'CONFIG'\nos.environ[n] = '{{}}'\n" + KERAS["straight lines"], WITH_SERVER),
    "variables by another name": (f"{OS}from os import environ as e\ne.clear()\n" + KERAS["straight lines"], TWO),
    "a variable of the process alone": (f"{OS}os.putenv(chr(65), '1')\n" + KERAS["straight lines"], TWO),
    "another backend": ("import keras\nkeras.config.set_backend('jax')\n" + KERAS["a functional model of keras itself"], TWO),
    "a fit of its own": (IMPORTS + MADE + within(MODEL) + "import functools\nmodel.fit = functools.partial(print, model)\n" + FIT, TWO),
    "a step of its own, in all models": (IMPORTS + "keras.Model.train_step = print\n" + MADE + within(MODEL) + FIT, TWO),
    "a fit that is set by its name": (IMPORTS + MADE + within(MODEL) + "setattr(model, 'fit', print)\n" + FIT, TWO),
    "a loop of its own": (IMPORTS + MADE + within(MODEL) + "strategy.run(print)\n", TWO),
}


@pytest.mark.parametrize("name", SILENT)
def test_what_may_train_is_not_even_warned_of(tmp_path: Path, name: str) -> None:
    source, group = SILENT[name]
    found = examined(tmp_path, source, group)
    assert (found.errors, found.warnings) == ([], [])


WARNED = {
    "below a condition": (IMPORTS + MADE + "if len('x'):\n    pass\n" + within(MODEL) + f"if input():\n    {FIT}", TWO),
    "after arguments that nobody read": (
        IMPORTS + "import argparse\nargparse.ArgumentParser().parse_args()\n" + MADE + within(MODEL) + FIT,
        TWO,
    ),
    "after arguments with a way out": (
        IMPORTS + PARSED.replace("type=int", "type=open") + "p.parse_args()\n" + MADE + within(MODEL) + FIT,
        TWO,
    ),
    "a model outside, of an ensemble": (
        IMPORTS
        + "import json, os\ntf.random.set_seed(json.loads(os.environ['TF_CONFIG'])['task']['index'])\n"
        + MADE
        + "print(strategy.num_replicas_in_sync)\n"
        + MODEL
        + FIT,
        TWO,
    ),
    "a model of a function, below a condition": (
        IMPORTS + f"def build():\n    {MODEL}    return model\n" + MADE + "exit()\n" + within("m = build()\n") + FIT.replace("model", "m"),
        TWO,
    ),
    "a model that is made twice": (IMPORTS + MADE + within(MODEL) + "exit()\n" + MODEL + FIT, TWO),
    "a model outside, and a strategy that is used": (
        IMPORTS + MADE + MODEL + "tf.distribute.experimental_set_strategy(strategy)\n" + FIT,
        TWO,
    ),
    "a strategy that may not be made": (IMPORTS + f"if input():\n    {MADE}", WITH_SERVER),
    "on GPUs, where it was not tried": (KERAS["straight lines"], Group(2, servers=False, keras=True, devices=True)),
    "servers after a way out": (IMPORTS + "exit()\n" + MADE, WITH_SERVER),
}


@pytest.mark.parametrize("name", WARNED)
def test_what_is_not_surely_reached_is_a_warning(tmp_path: Path, name: str) -> None:
    source, group = WARNED[name]
    found = examined(tmp_path, source, group)
    assert found.errors == []
    assert len(found.warnings) == 1
    assert "nothing is refused" in found.warnings[0]


@pytest.mark.parametrize("name", ["below a condition", "a strategy that may not be made", "servers after a way out"])
def test_what_an_argument_may_choose_is_told_as_such(tmp_path: Path, name: str) -> None:
    source, group = WARNED[name]
    assert ", if this is reached: " in examined(tmp_path, source, group).warnings[0]


def test_models_that_come_by_very_many_ways_take_no_time(tmp_path: Path) -> None:
    functions = "".join(f"def f{n}():\n    if input():\n        return f{n + 1}()\n    return f{n + 1}()\n" for n in range(2000))
    names = "".join(f"m{n} = m{n - 1}\n" for n in range(1, 2000))
    source = IMPORTS + MADE + "exit()\n" + functions + f"def f2000():\n    return keras.Sequential([])\nm0 = f0()\n{names}m1999.fit()\n"
    found = examined(tmp_path, source)
    assert (found.errors, found.warnings) == ([], [])


LEGACY = "import os\nos.environ['TF_USE_LEGACY_KERAS'] = '1'\n"
BEFORE = {
    "a sitecustomize of the archive": ({"sitecustomize": LEGACY}, False),
    "a package that sets it": ({"job/__init__": LEGACY}, True),
    "a package that reads it from a file": ({"job/__init__": "import dotenv\ndotenv.load_dotenv()\n"}, True),
    "a module of a package that sets it": ({"job/__init__": "print(open('x').read())\nfrom . import env\n", "job/env": LEGACY}, True),
    "a package that nobody can read": ({"job/__init__": f"x = '{'y' * 17_000_000}'\n"}, True),
}


@pytest.mark.parametrize("name", BEFORE)
def test_nothing_is_said_where_code_before_the_script_may_change_what_it_finds(tmp_path: Path, name: str) -> None:
    files, is_module = BEFORE[name]
    for path, text in files.items():
        file = tmp_path / "archive" / f"{path}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    image = replace(IMAGE, has=lambda name: name in (*INSTALLED, "dotenv"))
    source = KERAS["straight lines"].encode()
    places = (str(tmp_path), str(tmp_path / "archive"))
    found = examine("train.py", source, places, image, (), group=TWO, package="job" if is_module else "")
    assert (found.errors, found.warnings) == ([], [])


def test_nothing_is_said_where_code_of_the_image_runs_before_the_script(tmp_path: Path) -> None:
    places = (str(tmp_path),)
    found = examine("train.py", KERAS["straight lines"].encode(), places, replace(IMAGE, starts_with_code=True), (), group=TWO)
    assert (found.errors, found.warnings) == ([], [])


def test_a_package_that_changes_nothing_keeps_nothing_from_being_refused(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job/__init__.py").write_text('"""A job."""\nimport numpy\n')
    found = examine("train.py", KERAS["straight lines"].encode(), (str(tmp_path),), IMAGE, (), group=TWO, package="job")
    assert len(found.errors) == 1


def test_a_module_of_the_users_that_handles_the_environment_makes_it_uncertain(tmp_path: Path) -> None:
    source = "import helper\n" + KERAS["straight lines"]
    assert len(examined(tmp_path, source, helper="import os\nx = os.environ.get('HOME')\n").errors) == 1
    assert examined(tmp_path, source, helper="import os\ndef load(d):\n    os.environ.update(d)\n").errors == []


def test_a_module_of_the_users_that_names_the_cluster_makes_it_uncertain(tmp_path: Path) -> None:
    source = "import cluster\n" + KERAS["straight lines"]
    assert len(examined(tmp_path, source, cluster="x = 1\n").errors) == 1
    assert examined(tmp_path, source, cluster="import os\nos.environ['TF_CONFIG'] = '{}'\n").errors == []
    assert examined(tmp_path, source, cluster="import tf_keras\n").errors == []


def test_what_is_known_of_a_group_is_of_the_image_and_of_the_job(tmp_path: Path) -> None:
    peers = {"chief": ("a:1",), "worker": ("b:1", "c:1"), "ps": ("d:1",)}
    plan = Plan(namespace="n", job="j", uid="u", runtime="tf2", script=Script(name="t.py"), peers=peers, plain_keras=True)
    assert Group.of(plan, IMAGE, {}) == Group(3, servers=True, keras=True)
    assert Group.of(plan, IMAGE, {"TF_USE_LEGACY_KERAS": "1"}) == Group(3, servers=True, keras=False)
    assert Group.of(plan, Image("tf2", bool, keras="3.99.0"), {}) == Group(3, servers=True, keras=False)
    assert Group.of(plan, replace(IMAGE, uses_gpus=True), {}) == Group(3, servers=True, keras=True, devices=True)
    assert Group.of(plan, Image("tf1", bool, keras="2.15.0", is_version_1=True), {}) is None
    assert Group.of(Plan(namespace="n", job="j", uid="u", runtime="tf2", script=Script(name="t.py")), IMAGE, {}) is None


def test_the_keras_of_the_images_is_the_one_that_was_measured() -> None:
    lock = tomllib.loads((Path(__file__).parents[4] / "uv.lock").read_text())
    found = [each["version"] for each in lock["package"] if each["name"] == "keras" and each["version"].startswith("3.")]
    assert all(each.startswith(MEASURED) for each in found), "try again whether fit trains on several replicas, then set MEASURED"
