"""Arguments against the script's parser: what argparse refuses is found, and what it accepts is never refused."""

from __future__ import annotations

import contextlib
import io
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tftrainer.messages.contract import Reason
from tftrainer.preflight.check import examine
from tftrainer.preflight.finding import Findings
from tftrainer.preflight.imports import Image

IMAGE = Image("tf2", lambda name: name in sys.stdlib_module_names or name in {"tensorflow", "numpy", "absl"})


def examined(source: str, args: Sequence[str]) -> Findings:
    return examine("train.py", source.encode(), ("/nonexistent",), IMAGE, args)


def refused(source: str, args: Sequence[str]) -> bool:
    return any(each.reason is Reason.INVALID_ARGUMENTS for each in examined(source, args).errors)


def argparse_refuses(source: str, args: Sequence[str]) -> bool:
    return outcome(source, args) == "refused"


def outcome(source: str, args: Sequence[str]) -> str:
    """Run the script itself and tell what came of it: accepted, refused by argparse (exit code 2), or broken."""
    run = ModuleType("app")
    run.run = lambda main=None, argv=None: main(argv or sys.argv)  # type: ignore[attr-defined]
    tensorflow = mock.MagicMock(app=run)
    names = {"tensorflow": tensorflow, "tensorflow.compat": mock.MagicMock(), "tensorflow.compat.v1": tensorflow}
    scope: dict[str, Any] = {"__name__": "__main__"}
    quiet = io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["train.py", *args]),
        mock.patch.dict(sys.modules, names),
        contextlib.redirect_stdout(quiet),
        contextlib.redirect_stderr(quiet),
    ):
        try:
            exec(compile(source, "train.py", "exec"), scope)
        except SystemExit as ended:
            return "refused" if ended.code == 2 else "accepted"
        except Exception:
            return "broken"
    return "accepted"


def script(body: str) -> str:
    return textwrap.dedent(body).lstrip()


PLAIN = script(
    """
    import argparse
    import tensorflow as tf

    parser = argparse.ArgumentParser(description="x", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--train_path", required=True)
    parser.add_argument("--epochs", "-e", type=int, default=3)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--mode", choices=["train", "eval"])
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    """
)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--train_path", "x", "--epochz", "3"], ["spec.args[2]", "--epochz", "train.py", "did you mean --epochs"]),
        (["--train_path", "x", "--nothing_like_it"], ["--nothing_like_it", "it knows --epochs, --mode"]),
        (["--epochs", "3"], ["required", "--train_path"]),
        (["--train_path", "x", "--epochs", "three"], ["--epochs", "'three'", "int", "line 6"]),
        (["--train_path", "x", "--rate=fast"], ["--rate", "'fast'", "float"]),
        (["--train_path", "x", "--mode", "test"], ["--mode", "'test'", "'train', 'eval'"]),
        (["--train_path", "x", "--epochs"], ["--epochs", "expected one argument"]),
        (["--train_path", "x", "stray"], ["spec.args[2]", "'stray'", "no place"]),
        (["--train_path", "x", "--verbose=1"], ["--verbose", "ignored explicit argument"]),
    ],
)
def test_what_argparse_would_refuse_is_said_before_the_start_with_its_place_and_a_remedy(args: list[str], words: list[str]) -> None:
    found = examined(PLAIN, args).errors
    assert found, "nothing was refused"
    assert argparse_refuses(PLAIN, args)
    text = " ".join(f"{each.message} {each.hint}" for each in found)
    assert [word for word in words if word not in text] == []
    assert {(each.reason, each.file) for each in found} == {(Reason.INVALID_ARGUMENTS, "train.py")}


@pytest.mark.parametrize(
    ("args", "place"),
    [
        (["--train_path", "x", "--epochs", "three"], "spec.args[3]: --epochs"),
        (["--train_path", "x", "--epochs=three"], "spec.args[2]: --epochs"),
        (["--train_path", "x", "-ethree"], "spec.args[2]: --epochs"),
        (["--train_path", "three", "--epochs", "three"], "spec.args[3]: --epochs"),
        (["--train_path=three", "-ethree"], "spec.args: --epochs"),
        (["--train_path", "x", "--mode", "test"], "spec.args[3]: --mode"),
    ],
)
def test_a_value_that_is_refused_is_told_with_its_index_where_only_one_can_be_meant(args: list[str], place: str) -> None:
    [found] = examined(PLAIN, args).errors
    assert found.message.startswith(place)


def test_all_that_is_wrong_with_the_arguments_is_found_at_once() -> None:
    found = examined(PLAIN, ["--epochs", "three", "--mode", "test", "--epochz"]).errors
    assert len(found) == 4


@pytest.mark.parametrize(
    "args",
    [
        ["--train_path", "x"],
        ["--train_path=x", "-e3", "--rate", "-1.5"],
        ["--train", "x", "--ep", "3", "--verb"],
        ["--train_path", "-"],
        ["--help"],
        ["--epochs", "3", "-h"],
        ["--train_path", "x", "--mode", "eval", "--epochs", " 7 "],
    ],
)
def test_what_argparse_accepts_is_left_alone(args: list[str]) -> None:
    assert not argparse_refuses(PLAIN, args)
    assert examined(PLAIN, args).errors == []


FORMS = {
    "main guard": """
        import argparse, sys
        if __name__ == "__main__":
            parser = argparse.ArgumentParser()
            parser.add_argument("--epochs", type=int)
            FLAGS = parser.parse_args(sys.argv[1:])
            print(FLAGS)
    """,
    "function main": """
        import argparse
        def main():
            ap = argparse.ArgumentParser()
            ap.add_argument("--epochs", type=int)
            args = vars(ap.parse_args())
            print(args)
        if __name__ == "__main__":
            main()
    """,
    "function parse_args called by main": """
        from argparse import ArgumentParser
        import sys
        def parse_args():
            p = ArgumentParser()
            g = p.add_argument_group("training")
            g.add_argument("--epochs", type=int)
            return p.parse_args()
        def main() -> int:
            args = parse_args()
            return 0
        if __name__ == "__main__":
            sys.exit(main())
    """,
    "argv handed on": """
        import argparse
        def main(argv=None):
            parser = argparse.ArgumentParser()
            parser.add_argument("--epochs", type=int)
            args = parser.parse_args(argv)
        if __name__ == "__main__":
            main()
    """,
    "tf.app.run": """
        import argparse
        import tensorflow as tf
        parser = argparse.ArgumentParser()
        parser.add_argument("--epochs", type=int)
        def main(argv):
            args = parser.parse_args(argv[1:])
        if __name__ == "__main__":
            tf.logging.set_verbosity(tf.logging.INFO)
            tf.app.run(main)
    """,
    "parse_known_args": """
        import argparse, sys
        import tensorflow.compat.v1 as tf
        def main(_):
            print(FLAGS)
        if __name__ == "__main__":
            parser = argparse.ArgumentParser()
            parser.add_argument("--epochs", type=int)
            FLAGS, unparsed = parser.parse_known_args()
            tf.app.run(main=main, argv=[sys.argv[0]] + unparsed)
    """,
    "exclusive group": """
        import argparse
        parser = argparse.ArgumentParser()
        either = parser.add_mutually_exclusive_group(required=False)
        either.add_argument("--epochs", type=int)
        either.add_argument("--steps", type=int)
        args = parser.parse_args()
    """,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_parser_is_found_in_every_form_that_programs_are_written_in(form: str) -> None:
    source = script(FORMS[form])
    assert argparse_refuses(source, ["--epochs", "x"])
    assert refused(source, ["--epochs", "x"])
    assert examined(source, ["--epochs", "3"]).errors == []


def test_what_a_parser_does_not_know_may_be_a_flag_of_absl_and_is_then_only_a_warning() -> None:
    found = examined(script(FORMS["tf.app.run"]), ["--epochz", "3"])
    assert found.errors == []
    assert "--epochz" in found.warnings[0]
    assert not refused(script(FORMS["tf.app.run"]), ["--flagfile=x", "--epochs", "x"])


def test_what_parse_known_args_does_not_know_is_nobodys_business() -> None:
    found = examined(script(FORMS["parse_known_args"]), ["--epochz", "3"])
    assert (found.errors, found.warnings) == ([], [])


UNCERTAIN = {
    "a function as a default": (
        "import sys\ndef f(a):\n    sys.argv.clear()\ndef main(g=f):\n    sorted([1], key=g)\n"
        "    p = argparse.ArgumentParser()\n    p.parse_args()\nmain()"
    ),
    "subparsers": 'p = argparse.ArgumentParser()\ns = p.add_subparsers()\nt = s.add_parser("train")\nt.add_argument("--x")\np.parse_args()',
    "parents": (
        'a = argparse.ArgumentParser(add_help=False)\na.add_argument("--x")\np = argparse.ArgumentParser(parents=[a])\np.parse_args()'
    ),
    "a library adds arguments": "import tensorflow as tf\np = argparse.ArgumentParser()\ntf.add_to(p)\np.parse_args()",
    "arguments in a loop": 'p = argparse.ArgumentParser()\nfor n in ["x"]:\n    p.add_argument("--" + n)\np.parse_args()',
    "arguments under a condition": 'p = argparse.ArgumentParser()\nif True:\n    p.add_argument("--x")\np.parse_args()',
    "a name that is computed": 'N = "--x"\np = argparse.ArgumentParser()\np.add_argument(N)\np.parse_args()',
    "options from a dictionary": 'O = {"nargs": "?"}\np = argparse.ArgumentParser()\np.add_argument("--x", **O)\np.parse_args()',
    "arguments of its own": 'p = argparse.ArgumentParser()\np.parse_args(["--y"][:0])',
    "arguments are changed": "import sys\nsys.argv = sys.argv[:1]\np = argparse.ArgumentParser()\np.parse_args()",
    "arguments are looked at": 'import sys\nif "--x" in sys.argv:\n    sys.exit(0)\np = argparse.ArgumentParser()\np.parse_args()',
    "arguments are taken away": "import sys\nif 1:\n    del sys.argv[1:]\np = argparse.ArgumentParser()\np.parse_args()",
    "arguments are taken away in main": (
        "import sys\ndef main():\n    p = argparse.ArgumentParser()\n    sys.argv.clear()\n    p.parse_args()\nmain()"
    ),
    "arguments under another name": "import sys as s\na = s.argv\na.clear()\np = argparse.ArgumentParser()\np.parse_args()",
    "the end comes before": "import sys\nsys.exit(0)\np = argparse.ArgumentParser()\np.parse_args()",
    "a function may end it": "def f():\n    raise SystemExit(0)\nf()\np = argparse.ArgumentParser()\np.parse_args()",
    "errors are caught": "p = argparse.ArgumentParser()\ntry:\n    p.parse_args()\nexcept SystemExit:\n    pass",
    "errors are replaced": "p = argparse.ArgumentParser()\np.error = print\np.parse_args()",
    "a subclass": "class P(argparse.ArgumentParser):\n    def error(self, m):\n        pass\np = P()\np.parse_args()",
    "never called": 'def main():\n    p = argparse.ArgumentParser()\n    p.add_argument("--y")\n    p.parse_args()',
    "called under a condition": "def main():\n    p = argparse.ArgumentParser()\n    p.parse_args()\nif False:\n    main()",
    "an action is changed": (
        'p = argparse.ArgumentParser()\na = p.add_argument("--y", required=True)\na.required = False\np.add_argument("--x")\np.parse_args()'
    ),
    "a hook": "p = argparse.ArgumentParser()\np.parse_args = lambda: None\np.parse_args()",
    "a custom action": (
        "class A(argparse.Action):\n"
        "    def __call__(self, *a):\n"
        "        pass\n"
        "p = argparse.ArgumentParser()\n"
        'p.add_argument("--x", action=A)\n'
        "p.parse_args()"
    ),
    "a file of arguments": 'p = argparse.ArgumentParser(fromfile_prefix_chars="@")\np.add_argument("--x")\np.parse_args()',
    "a decorator": (
        "import functools\n"
        "def d(f):\n"
        "    return lambda: None\n"
        "@d\n"
        "def main():\n"
        "    p = argparse.ArgumentParser()\n"
        "    p.parse_args()\n"
        "main()"
    ),
    "a star import": "from os.path import *\np = argparse.ArgumentParser()\np.parse_args()",
    "a second parser": "p = argparse.ArgumentParser()\nq = argparse.ArgumentParser()\nq.parse_known_args()\np.parse_known_args()",
    "returned": "def build():\n    p = argparse.ArgumentParser()\n    return p\np2 = build()\np2.add_argument('--x')\np2.parse_args()",
    "intermixed": "p = argparse.ArgumentParser()\np.parse_intermixed_args([])",
    "later arguments": "def late():\n    p.parse_args()\np = argparse.ArgumentParser()\nlate()\np.add_argument('--x')",
    "flags of absl of the same name": 'import tensorflow as tf\ntf.app.flags.DEFINE_string("x", "", "")\np = argparse.ArgumentParser()\n'
    'p.add_argument("--x", type=int, choices=[7])\ndef main(argv):\n    p.parse_args(argv[1:])\ntf.app.run(main)',
    "absl.app": "from absl import app\np = argparse.ArgumentParser()\ndef main(argv):\n    p.parse_args(argv[1:])\napp.run(main)",
}


@pytest.mark.parametrize("name", UNCERTAIN)
@pytest.mark.parametrize("args", [["--x", "1"], ["--x=1", "train", "-5"], []])
def test_a_parser_that_the_text_does_not_tell_is_not_judged(name: str, args: list[str]) -> None:
    found = examined("import argparse\n" + UNCERTAIN[name] + "\n", args)
    assert [each for each in found.errors if each.reason is Reason.INVALID_ARGUMENTS] == []


CHANGED = {
    "a part is taken": "argv = [a for a in argv if a != '--x']",
    "the beginning is cut off": "argv = argv[2:]",
    "more is added": "argv += ['--y']",
    "one is deleted": "del argv[0]",
    "one is taken by another name": "rest = argv\n    rest.pop(0)",
    "it is handed over": "change(argv)",
    "it is kept in a list": "kept = [argv]\n    kept[0].clear()",
    "a closure changes it": "def inner():\n        argv.clear()\n    inner()",
    "a closure binds it": "def inner():\n        nonlocal argv\n        argv = ['--y']\n    inner()",
    "a loop binds it": "for argv in [['--y']]:\n        pass",
    "a walrus binds it": "print(argv := ['--y'])",
    "an import binds it": "import os as argv",
    "a function of its name": "def argv():\n        pass",
    "an exception of its name": "try:\n        int('x')\n    except ValueError as argv:\n        pass",
    "a pattern of its name": "match ['--y']:\n        case argv:\n            pass",
    "it is emptied in place": "argv[:] = []",
    "it is sorted": "argv.sort()",
}
SYS_ARGV = {
    "is bound anew": "sys.argv = sys.argv[:1]",
    "is bound anew in a function": "def f():\n    sys.argv = ['']\nf()",
    "is added to": "sys.argv.append('--y')",
    "is cut": "del sys.argv[1:]",
    "is replaced from one on": "sys.argv[1:] = []",
    "is added to in place": "sys.argv += ['--y']",
    "has another name": "av = sys.argv\nav.clear()",
    "has another name that is imported": "from sys import argv as av\nav.clear()",
    "has another name through a second module": "import sys as s\ns.argv.pop()",
    "is set by a name": "setattr(sys, 'argv', [''])",
    "is reached through another module": "argparse._sys.argv.clear()",
    "is reached by a name": "vars(sys)['argv'].clear()",
    "is handed over": "change(sys.argv)",
    "is unpacked into": "(sys.argv[1:], x) = [], 1",
    "is a target of a loop": "for sys.argv in [['']]:\n    pass",
    "is set in a class": "class A:\n    sys.argv = ['']",
}
READS = "p = argparse.ArgumentParser()\n{0}p.add_argument('--y', action='store_true')\n{0}args = p.parse_args({1})\n"


@pytest.mark.parametrize("how", ["given", "given from sys", "through another function"])
@pytest.mark.parametrize("name", CHANGED)
def test_a_parameter_that_is_named_anywhere_but_where_it_is_read_is_not_judged(name: str, how: str) -> None:
    body = f"def main(argv=None):\n    {CHANGED[name]}\n    {READS.format('    ', 'argv')}"
    call = "main(sys.argv[1:])\n"
    if how == "through another function":
        body = f"def main(argv=None):\n    {CHANGED[name]}\n    read(argv)\ndef read(argv=None):\n    {READS.format('    ', 'argv')}"
    source = f"import argparse, sys\ndef change(a):\n    a.clear()\n{body}\n{call if how != 'given' else 'main(sys.argv[1:])'}"
    for args in (["--x"], ["--x", "--y"], ["--y", "--z"], []):
        assert not refused(source, args) or argparse_refuses(source, args), args


@pytest.mark.parametrize("place", ["module", "main"])
@pytest.mark.parametrize("name", SYS_ARGV)
def test_arguments_of_the_process_that_are_changed_in_any_way_are_not_judged(name: str, place: str) -> None:
    change = SYS_ARGV[name]
    if place == "main":
        body = f"def main():\n{textwrap.indent(change, '    ')}\n    {READS.format('    ', '')}main()\n"
    else:
        body = f"{change}\n{READS.format('', '')}"
    source = f"import argparse, sys\ndef change(a):\n    a.clear()\n{body}"
    for args in (["--x"], ["--x", "--y"], []):
        assert not refused(source, args), args


def test_a_parameter_that_is_named_only_where_it_is_read_is_judged() -> None:
    for handed in ("sys.argv[1:]", "None", ""):
        source = f"import argparse, sys\ndef main(argv=None):\n    {READS.format('    ', 'argv')}main({handed})\n"
        assert refused(source, ["--x"])
        assert argparse_refuses(source, ["--x"])


@pytest.mark.parametrize(
    "text", ["import sys\nsys.argv.clear()\n", "import sys\ndel sys.argv[1:]\n", "from sys import argv\nargv.clear()\n"]
)
def test_arguments_that_a_module_of_the_users_takes_away_are_not_judged(tmp_path: Path, text: str) -> None:
    (tmp_path / "own.py").write_text(text)
    source = "import own\nimport argparse\np = argparse.ArgumentParser()\np.parse_args()\n"
    assert examine("train.py", source.encode(), (str(tmp_path),), IMAGE, ("--x",)).errors == []
    (tmp_path / "own.py").write_text("X = 1\n")
    assert len(examine("train.py", source.encode(), (str(tmp_path),), IMAGE, ("--x",)).errors) == 1


def test_a_converter_of_the_scripts_own_takes_every_value() -> None:
    source = script(
        """
        import argparse
        def int(text):
            return text == "yes"
        p = argparse.ArgumentParser()
        p.add_argument("--x", type=int)
        p.add_argument("--y", type=lambda s: s.split(","), choices=[["a"]])
        p.parse_args()
        """
    )
    assert not argparse_refuses(source, ["--x", "yes", "--y", "a"])
    assert examined(source, ["--x", "yes", "--y", "a"]).errors == []


flags = st.sampled_from(["--epochs", "--epoch_size", "--rate", "--mode", "--data-dir", "-n", "-v", "--no-cache", "--cache", "-1"])
values = st.sampled_from(["3", "-3", "-1.5", "x", "train", "", "a=b", "--", "-", "1e3", "-x y", "0x10", "1_000", "é"])
kinds = st.sampled_from(["", ", type=int", ", type=float", ", type=str", ", type=bool", ", type=lambda s: s"])
shapes = st.sampled_from(
    ["", ", nargs='?'", ", nargs='*'", ", nargs='+'", ", nargs=2", ", nargs=argparse.REMAINDER", ", required=True", ", default=7"]
)
bare = st.sampled_from(
    [
        ", action='store_true'",
        ", action='count'",
        ", action='store_const', const=1",
        ", action=argparse.BooleanOptionalAction",
        ", action='version', version='1'",
    ]
)
choices = st.sampled_from(["", "", ", choices='train'", ", choices=['train', 'x']", ", choices=[3, -3]", ", choices=[f for f in ('x',)]"])


parsers = st.sampled_from(
    [
        "",
        "allow_abbrev=False",
        "add_help=False",
        "prefix_chars='-+'",
        "conflict_handler='resolve'",
        "argument_default=argparse.SUPPRESS",
    ]
)


@st.composite
def scripts(draw: st.DrawFn) -> str:
    options = draw(parsers)
    lines = [f"p = argparse.ArgumentParser({options})"]
    owner = "p"
    for flag in draw(st.lists(flags, max_size=5)):
        if draw(st.booleans()) and owner == "p":
            lines.append(draw(st.sampled_from(["g = p.add_argument_group()", "g = p.add_mutually_exclusive_group()"])))
            owner = "g"
        rest = draw(bare) if draw(st.booleans()) else draw(kinds) + draw(shapes) + draw(choices)
        lines.append(f"{draw(st.sampled_from(['p', owner]))}.add_argument('{flag}'{rest})")
    for number in range(draw(st.integers(0, 2))):
        shape = draw(shapes).replace(", required=True", "")
        lines.append(f"p.add_argument('place{number}'{draw(kinds)}{shape}{draw(choices)})")
    if draw(st.booleans()):
        lines.append("p.set_defaults(epochs=1)")
    method = draw(st.sampled_from(["parse_args", "parse_known_args"]))
    wrap = draw(st.sampled_from(["module", "guard", "main", "twice"]))
    if wrap == "module":
        body = "\n".join([*lines, f"args = p.{method}()"])
    else:
        inside = textwrap.indent("\n".join([*lines, f"args = p.{method}()"]), "    ")
        body = {
            "guard": f"if __name__ == '__main__':\n{inside}",
            "main": f"def main():\n{inside}\nmain()",
            "twice": f"def parse_args():\n{inside}\n    return args\ndef main():\n    x = parse_args()\nif __name__ == '__main__':\n"
            "    main()",
        }[wrap]
    return f"import argparse\nimport sys\n{body}\n"


words = st.one_of(
    flags,
    values,
    st.builds("{}={}".format, flags, values),
    st.builds("{}{}".format, flags, values),
    st.sampled_from(["--ep", "--e", "--no", "--unknown", "-h", "-vv"]),
)


@pytest.mark.thorough
@given(source=scripts(), args=st.lists(words, max_size=6))
@settings(max_examples=1200)
def test_nothing_that_argparse_accepts_is_refused_and_what_it_refuses_is_found(source: str, args: list[str]) -> None:
    found = examined(source, args)
    assert all(each.reason is Reason.INVALID_ARGUMENTS for each in found.errors)
    came_of_it = outcome(source, args)
    if found.errors:
        assert came_of_it != "accepted", found.errors
    elif "default" in source and ("exclusive" in source or "nargs='*'" in source):
        # Nothing is judged where a default may decide.
        return
    elif not any(word in source for word in ("lambda", "for f in", "SUPPRESS", "type=bool", "choices='")):
        assert came_of_it != "refused"


DEFAULTS = {
    "many values with a default that is a choice": (
        'p.add_argument("stages", nargs="*", choices=["train", "export", "all"], default="all")',
        [],
    ),
    "many values with a default from set_defaults": (
        'p.add_argument("stages", nargs="*", choices=["train", "all"])\np.set_defaults(stages="all")',
        [],
    ),
    "many values with the default of the whole parser": (
        'p = argparse.ArgumentParser(argument_default="all")\np.add_argument("stages", nargs="*", choices=["train", "all"])',
        [],
    ),
    "a required choice between two, of which one has a value when it stands alone": (
        'g = p.add_mutually_exclusive_group(required=True)\ng.add_argument("--cache", nargs="?", const="/tmp")\ng.add_argument("--no")',
        ["--cache"],
    ),
    "two that exclude each other, one of them given with the value that it has anyway": (
        'g = p.add_mutually_exclusive_group()\ng.add_argument("--x", type=int, default=5)\ng.add_argument("--y", action="store_true")',
        ["--x", "5", "--y"],
    ),
    "two that exclude each other, one of them a place that stays empty": (
        'g = p.add_mutually_exclusive_group()\ng.add_argument("f", nargs="*", default="-")\ng.add_argument("--y", action="store_true")',
        ["--y"],
    ),
    "two that exclude each other, one of them given as nothing": (
        'g = p.add_mutually_exclusive_group()\ng.add_argument("--x", type=lambda s: None if s == "none" else s)\n'
        'g.add_argument("--y", action="store_true")',
        ["--x", "none", "--y"],
    ),
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_default_that_decides_is_left_to_argparse(name: str) -> None:
    lines, args = DEFAULTS[name]
    made = "" if lines.startswith("p = ") else "p = argparse.ArgumentParser()\n"
    source = f"import argparse\n{made}{lines}\np.parse_args()\n"
    assert not argparse_refuses(source, args)
    assert examined(source, args).errors == []


def test_a_default_that_decides_nothing_leaves_the_arguments_certain() -> None:
    source = script(
        """
        import argparse
        p = argparse.ArgumentParser()
        p.add_argument("files", nargs="*", default=["-"])
        p.add_argument("--mode", choices=["train", "eval"], default="train")
        g = p.add_mutually_exclusive_group()
        g.add_argument("--x", type=int, default=None)
        g.add_argument("--y", action="store_true", default=False)
        p.parse_args()
        """
    )
    for args in (["--x", "1", "--y"], ["--mode", "test"], ["a", "--z"]):
        assert argparse_refuses(source, args)
        assert refused(source, args)


EITHER = [
    "",
    ", choices=['x', 'y']",
    ", type=int, choices=[3, 4]",
    ", type=int",
    ", type=lambda s: None",
    ", nargs='?'",
    ", nargs='*'",
    ", nargs='+'",
]
ALONE = [", action='store_true'", ", action='append'", ", nargs='?', const='x'", ", nargs='?', const=3"]
DEFAULT = ["", "'x'", "['x']", "3", "'3'", "None", "argparse.SUPPRESS", "()"]
EVERYWHERE = ["", "argument_default='x'", "argument_default=3", "argument_default=argparse.SUPPRESS"]


@st.composite
def scripts_with_defaults(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Draw a script and arguments that may well fit it."""
    lines = [f"p = argparse.ArgumentParser({draw(st.sampled_from(EVERYWHERE))})"]
    group = draw(st.sampled_from(["p.add_mutually_exclusive_group(required=True)", "p.add_mutually_exclusive_group()", "p"]))
    lines += ["" if group == "p" else f"g = {group}"]
    args: list[str] = []
    for name in draw(st.lists(st.sampled_from(["--a", "--b", "-c", "place"]), unique=True, min_size=1, max_size=3)):
        parts = draw(st.lists(st.sampled_from(EITHER), max_size=2, unique_by=lambda each: each[:6]))
        if name == "place" and group != "p" and not any("?" in each or "*" in each for each in parts):
            parts = [", nargs='?'"]
        if name != "place" and draw(st.booleans()):
            parts = [draw(st.sampled_from(ALONE))]
        default = draw(st.sampled_from(DEFAULT))
        text = "".join(parts) + (f", default={default}" if default else "")
        lines.append(f"{'p' if group == 'p' else draw(st.sampled_from(['p', 'g', 'g']))}.add_argument('{name}'{text})")
        if draw(st.booleans()):
            args += [*([name] if name != "place" else []), *draw(st.lists(st.sampled_from(["3", "x", "y"]), max_size=2))]
    lines += draw(st.lists(st.sampled_from(["p.set_defaults(place='x')", "p.set_defaults(a=3)"]), max_size=1))
    return "import argparse\n" + "\n".join([*(line for line in lines if line), "p.parse_args()\n"]), args


@pytest.mark.thorough
@given(drawn=scripts_with_defaults())
@settings(max_examples=300)
def test_whatever_the_defaults_are_nothing_that_argparse_accepts_is_refused(drawn: tuple[str, list[str]]) -> None:
    source, args = drawn
    found = examined(source, args)
    assert not found.errors or outcome(source, args) != "accepted", found.errors


@pytest.mark.thorough
@given(args=st.lists(st.text(max_size=12) | words, max_size=6))
@settings(max_examples=300)
def test_a_plain_parser_is_judged_exactly_as_argparse_judges(args: list[str]) -> None:
    assert refused(PLAIN, args) == argparse_refuses(PLAIN, args)


def test_the_scripts_of_this_repository_are_accepted_with_the_arguments_of_their_jobs() -> None:
    root = Path(__file__).parents[4]
    source = (root / "examples" / "iris" / "premade_estimator.py").read_bytes()
    places = (str(root / "examples" / "iris"),)
    args = ["--train_path", "/a/x.csv", "--test_path", "/a/y.csv", "--export_dir", "/b/tf_model"]
    found = examine("premade_estimator.py", source, places, IMAGE, args)
    assert found.errors == []
    assert "the arguments fit the parser of premade_estimator.py" in found.facts
    missing = examine("premade_estimator.py", source, places, IMAGE, ["--train_pth", *args[1:]]).errors
    assert "--train_path" in missing[0].message
    assert "did you mean --train_path instead of --train_pth?" in missing[0].hint
