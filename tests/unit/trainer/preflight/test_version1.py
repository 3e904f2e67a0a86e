"""Programs of TensorFlow 1 in a runtime that has TensorFlow 2: refused where they surely fail, with the runtime that has what they need."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tftrainer.messages.contract import Reason
from tftrainer.preflight.check import examine, this_image
from tftrainer.preflight.finding import Findings
from tftrainer.run.surroundings import on_version_1

LISTS = {
    "__init__.py": "from tensorflow._api.v2 import train\nfrom tensorflow._api.v2 import compat\n"
    "from tensorflow.python.ops import constant\n"
    "# only a placeholder\nsetattr(_current_module, 'losses', _losses)\n"
    "from tensorflow.python.ops.variable_scope import variable_creator_scope\n",
    "_api/v2/train/__init__.py": "from tensorflow.python.checkpoint import Checkpoint\n",
    "_api/v2/compat/__init__.py": "from tensorflow._api.v2.compat import v1\n",
    "_api/v2/compat/v1/__init__.py": "from x import app\nfrom x import constant\nfrom x import placeholder\nfrom x import Session\n"
    "from x import train\nfrom x import losses\nfrom x import variable_scope\nfrom x import flags\n",
    "_api/v2/compat/v1/train/__init__.py": "from x import Checkpoint\nfrom x import AdamOptimizer\n",
}


@pytest.fixture(autouse=True)
def tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, text in LISTS.items():
        file = tmp_path / "site" / "tensorflow" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    for name in [each for each in sys.modules if each.partition(".")[0] in {"tensorflow", "tftrainer_tf1"}]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [each for each in sys.meta_path if getattr(each, "__module__", "") != "tftrainer_tf1"])
    importlib.invalidate_caches()
    yield
    assert "tftrainer_tf1" not in sys.modules, "the alias was turned on in this process"


def examined(folder: Path, source: str, runtime: str = "tf2") -> Findings:
    return examine("train.py", source.encode(), (str(folder / "code"),), this_image(runtime, {}), ())


GONE = {
    "a package": ("import tensorflow.contrib.slim as slim\n", 1, ["tensorflow.contrib.slim", "tf-slim", "no runtime has it"]),
    "a part of one": ("from tensorflow.examples.tutorials.mnist import input_data\ninput_data.read()\n", 1, ["tf.keras.datasets"]),
    "a package by its name": ("from tensorflow import contrib\n", 1, ["tensorflow.contrib", "no runtime has it"]),
    "a package as an attribute": ("import tensorflow as tf\nslim = tf.contrib.slim\n", 2, ["contrib.slim", "tf-slim", "no runtime has it"]),
    "a placeholder": ("import tensorflow as tf\nx = tf.placeholder(1)\n", 2, ["tf.placeholder is of TensorFlow 1"]),
    "a session": ("import tensorflow as tf\nwith tf.Session() as s:\n    pass\n", 2, ["tf.Session"]),
    "flags": ("import tensorflow as tf\nflags = tf.app.flags\n", 2, ["tf.app"]),
    "a part of a part": ("import tensorflow as tf\no = tf.train.AdamOptimizer()\n", 2, ["tf.train.AdamOptimizer"]),
    "a name that is imported": ("from tensorflow import placeholder\n", 1, ["tf.placeholder"]),
    "below the guard": ("import tensorflow as tf\ndef main(_):\n    pass\nif __name__ == '__main__':\n    tf.app.run()\n", 5, ["tf.app"]),
    "in a function of a function": (
        "import tensorflow as tf\ndef build():\n    return tf.variable_scope('x')\ndef main():\n    y = 1\n    x = build()\nmain()\n",
        3,
        ["tf.variable_scope"],
    ),
    "in a default": ("import tensorflow as tf\ndef f(x=tf.placeholder(1)):\n    pass\n", 2, ["tf.placeholder"]),
    "in a class": ("import tensorflow as tf\nclass A:\n    x = tf.placeholder(1)\n", 3, ["tf.placeholder"]),
    "under its own name": ("import tensorflow\nx = tensorflow.placeholder(1)\n", 2, ["tf.placeholder"]),
}


@pytest.mark.parametrize("name", GONE)
def test_what_surely_fails_is_refused_once_with_its_line_and_the_runtime_that_has_it(tmp_path: Path, name: str) -> None:
    source, line, words = GONE[name]
    [found] = examined(tmp_path, source).errors
    assert (found.reason, found.line) == (Reason.IMPORT_MISSING, line)
    assert [word for word in [*words, "spec.runtime: tf1"] if word not in f"{found.message} {found.hint}"] == []


def test_the_runtime_that_is_named_has_a_gpu_where_the_jobs_own_has_one(tmp_path: Path) -> None:
    [found] = examined(tmp_path, GONE["a session"][0], "tf2-gpu").errors
    assert "spec.runtime: tf1-gpu," in found.hint


RUNS = {
    "what version 2 has": "import tensorflow as tf\ntf.constant(1)\ntf.train.Checkpoint\ntf.losses.x\ntf.compat.v1.placeholder(1)\n",
    "the API of version 1": "import tensorflow.compat.v1 as tf\ntf.disable_v2_behavior()\nx = tf.placeholder(1)\ntf.app.run()\n",
    "either": "try:\n    import tensorflow.compat.v1 as tf\nexcept ImportError:\n    import tensorflow as tf\nx = tf.placeholder(1)\n",
    "guarded by try": "import tensorflow as tf\ntry:\n    x = tf.placeholder(1)\nexcept AttributeError:\n    pass\n",
    "guarded by a condition": "import tensorflow as tf\nif tf.__version__ < '2':\n    tf.placeholder(1)\n",
    "guarded by an operator": "import tensorflow as tf\nx = hasattr(tf, 'app') and tf.app\n",
    "guarded by an expression": "import tensorflow as tf\nx = tf.app if hasattr(tf, 'app') else None\n",
    "a function that nobody calls": "import tensorflow as tf\ndef f():\n    return tf.placeholder(1)\n",
    "a function that may be called": "import tensorflow as tf\nimport os\ndef f():\n    tf.placeholder(1)\nif os.environ.get('X'): f()\n",
    "a lambda": "import tensorflow as tf\nf = lambda: tf.placeholder(1)\n",
    "the rest of a comprehension": "import tensorflow as tf\nx = [tf.placeholder(i) for i in []]\n",
    "the end comes before": "import sys\nimport tensorflow as tf\nsys.exit(0)\nx = tf.placeholder(1)\n",
    "the end comes before in a statement": "import sys\nimport tensorflow as tf\nx = [sys.exit(0), tf.placeholder(1)]\n",
    "the end comes before in a dictionary": "import sys\nimport tensorflow as tf\nx = {1: sys.exit(0), tf.app: 2}\n",
    "the end comes before in a function": "import sys\nimport tensorflow as tf\ndef f():\n    sys.exit(0)\nf()\ntf.app\n",
    "the function returns before": "import tensorflow as tf\ndef f():\n    return 1\n    tf.app\nf()\n",
    "the function may return before": "import tensorflow as tf\ndef f(x=[]):\n    for y in x:\n        return 1\n    tf.app\nf()\n",
    "the name is given": "import tensorflow as tf\ntf.app = 1\nx = tf.app\n",
    "the name is another's": "import tensorflow as tf\ntf = object()\nx = tf.app\n",
    "a generator": "import tensorflow as tf\ndef f():\n    tf.app\n    yield\nf()\n",
    "a decorator": "import tensorflow as tf\ndef d(f):\n    return print\n@d\ndef f():\n    tf.app\nf()\n",
    "errors are held back": "import contextlib\nimport tensorflow as tf\nwith contextlib.suppress(AttributeError):\n    tf.app\n",
    "errors are held back by one of two": (
        "import contextlib\nimport tensorflow as tf\nwith contextlib.suppress(AttributeError), tf.Session():\n    pass\n"
    ),
    "errors are held back around a call": (
        "import contextlib\nimport tensorflow as tf\ndef f():\n    tf.app\nwith contextlib.suppress(AttributeError):\n    f()\n"
    ),
    "an assertion that may be switched off": "import tensorflow as tf\nassert tf.app\n",
    "a name that nobody knows": "import tensorflow as tf\ntf.keras.layers\ntf.of_a_plugin\n",
    "an annotation": "import tensorflow as tf\nx: tf.placeholder = 1\n",
}


@pytest.mark.parametrize("name", RUNS)
def test_what_may_run_is_not_refused(tmp_path: Path, name: str) -> None:
    assert examined(tmp_path, RUNS[name]).errors == []


def test_where_it_is_not_certain_the_log_warns_but_not_where_versions_are_told_apart(tmp_path: Path) -> None:
    [warning] = examined(tmp_path, "import tensorflow as tf\nx = open('f')\ndef f():\n    return tf.Session()\n").warnings
    assert "line 4: tf.Session" in warning
    assert "spec.runtime: tf1" in warning
    for name in ("guarded by try", "guarded by a condition", "guarded by an operator"):
        assert examined(tmp_path, RUNS[name]).warnings == [], name


def test_a_module_of_the_users_own_of_that_name_has_the_names_it_has(tmp_path: Path) -> None:
    (tmp_path / "code" / "tensorflow").mkdir(parents=True)
    (tmp_path / "code" / "tensorflow" / "__init__.py").write_text("Session = 1\n")
    assert examined(tmp_path, "import tensorflow as tf\nx = tf.Session\n").errors == []


def test_a_module_that_the_script_imports_is_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "net.py").write_text("import tensorflow as tf\n\nslim = tf.contrib.slim\n")
    [found] = examined(tmp_path, "import net\n").errors
    assert (found.file, found.line) == ("net.py", 3)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("tensorflow.Session", "set spec.runtime: tf1-gpu, whose `tensorflow` is that of version 1, or change the script to TensorFlow 2"),
        ("tensorflow.train.AdamOptimizer", "set spec.runtime: tf1-gpu, whose"),
        ("tensorflow.contrib", "no runtime has it"),
        ("tensorflow.train.Checkpoint", ""),
        ("tensorflow.Sesion", ""),
    ],
)
def test_what_a_script_that_failed_is_told_of_a_name_is_what_it_would_have_been_told_before(tmp_path: Path, name: str, advice: str) -> None:
    told = on_version_1("tf2-gpu", {}, tmp_path)(name)
    assert told.startswith(advice) if advice else told == ""


def test_on_version_1_itself_nobody_is_sent_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as of_version_1:
        of_version_1.setitem(sys.modules, "tftrainer_tf1", sys)
        assert on_version_1("tf1", {}, tmp_path)("tensorflow.contrib") == ""
