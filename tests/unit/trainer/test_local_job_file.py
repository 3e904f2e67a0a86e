"""A wrong job file is refused by words that name the field, the value and what was expected."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.local.job_file import JobFileError, parse, read
from tftrainer.local.spec import JobFile

GOOD = """\
apiVersion: tftraining.dev/v1alpha1
kind: TFTrainingJob
metadata:
  name: hello
spec:
  script:
    name: hello.py
    inline: print(1)
"""
URI = GOOD.replace("    name: hello.py\n    inline: print(1)\n", "    uri: s3://bucket/x.py\n")

MISTAKES = {
    "an unknown field has a near match": (GOOD + "  arg: [a]\n", ["spec.arg", "did you mean args?"]),
    "capitals count": (GOOD + "  activedeadlineseconds: 5\n", ["spec.activedeadlineseconds", "did you mean activeDeadlineSeconds?"]),
    "an unknown field without one lists what there is": (GOOD + "  xyzzy: 1\n", ["spec.xyzzy", "expected one of: script, runtime"]),
    "deep inside": (GOOD.replace("inline", "inlin"), ["spec.script.inlin", "did you mean inline?"]),
    "in a list": (GOOD + "  inputs: [{name: a, url: '${bucket}/a/'}]\n", ["spec.inputs[0].url", "did you mean uri?"]),
    "a number among the arguments": (GOOD + "  args: [--n, 5]\n", ["spec.args[1]", "5", "expected text", "quotes"]),
    "one argument instead of a list": (GOOD + "  args: --n\n", ["spec.args", "'--n'", "expected a list"]),
    "a text for seconds": (GOOD + "  activeDeadlineSeconds: 1h\n", ["spec.activeDeadlineSeconds", "'1h'", "a whole number"]),
    "too few seconds": (GOOD + "  activeDeadlineSeconds: 0\n", ["spec.activeDeadlineSeconds", ">= 1"]),
    "a text for a flag": (GOOD + "  suspend: 'no'\n", ["spec.suspend", "'no'", "true or false"]),
    "a decimal size": (GOOD + "  resources: {cpu: 0.5}\n", ["spec.resources.cpu", "0.5", "quotes"]),
    "a size without a unit": (GOOD + "  resources: {workspace: 10}\n", ["spec.resources.workspace", "10", "512Mi"]),
    "not a URI": (URI.replace("s3://bucket/x.py", "/home/me/x.py"), ["spec.script.uri", "s3://bucket/key"]),
    "a folder for a script": (URI.replace("x.py", "x/"), ["spec.script.uri", "not a folder"]),
    "two sources": (GOOD + "    uri: s3://bucket/x.py\n", ["spec.script", "exactly one of uri and inline"]),
    "no name": (GOOD.replace("    name: hello.py\n", ""), ["spec.script", "inline needs name"]),
    "no script": (GOOD.split("  script")[0] + "  runtime: tf2\n", ["spec.script is missing"]),
    "no spec": (GOOD.split("spec:")[0], ["spec is missing"]),
    "no job name": (GOOD.replace("  name: hello\n", "  labels: {}\n"), ["metadata.name is missing"]),
    "a job name with capitals": (GOOD.replace("name: hello\n", "name: Hello\n"), ["metadata.name", "'Hello'", "a-z"]),
    "an unknown placeholder": (GOOD + "  args: ['${buket}/x']\n", ["spec.args[0]", "${buket}/x", "unknown placeholder"]),
    "a reserved variable": (GOOD + "  env: [{name: AWS_REGION, value: x}]\n", ["spec.env[0].name", "'AWS_REGION'", "is reserved"]),
    "a variable twice": (GOOD + "  env: [{name: A}, {name: A}]\n", ["env names 'A' twice"]),
    "too much": (GOOD + f"  args: [{', '.join(['a' * 2000] * 30)}]\n", ["60000 bytes", "at most 49152"]),
    "another kind": (GOOD.replace("kind: TFTrainingJob", "kind: TFJob"), ["kind is 'TFJob', expected TFTrainingJob"]),
    "another version": (GOOD.replace("v1alpha1", "v1"), ["apiVersion is 'tftraining.dev/v1'"]),
    "no kind": (GOOD.replace("kind: TFTrainingJob\n", ""), ["kind is missing, expected TFTrainingJob"]),
    "two documents": (GOOD + "---\n" + GOOD, ["2 documents", "file of its own"]),
    "nothing": ("# nothing\n", ["0 documents"]),
    "a list": ("- a\n- b\n", ["expected the fields apiVersion"]),
    "tabs": (GOOD + "\targs: []\n", ["not YAML", "line 9"]),
    "an open bracket": (GOOD + "  args: [a\n", ["not YAML", "line 10"]),
    "a field twice": (GOOD + "  runtime: tf1\n  runtime: tf2\n", ["line 10", "'runtime' stands here twice"]),
    "an object of Python": (GOOD + "  args: !!python/object/apply:os.getcwd []\n", ["not YAML", "line 9"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_field(name: str) -> None:
    text, words = MISTAKES[name]
    with pytest.raises(JobFileError) as refused:
        parse(text.encode())
    for word in words:
        assert word in str(refused.value), str(refused.value)
    assert "$." not in str(refused.value)
    assert "`" not in str(refused.value)


def test_all_unknown_fields_are_named_at_once() -> None:
    with pytest.raises(JobFileError) as refused:
        parse((GOOD + "  arg: []\n  input: []\n").encode())
    assert len(str(refused.value).splitlines()) == 2


def test_all_mistakes_of_known_fields_are_named_at_once() -> None:
    wrong = GOOD.replace("    name: hello.py\n    inline: print(1)\n", "    uri: s3://bucket/x/\n") + (
        "  args: [--n, 5, '${buket}/x']\n  inputs: [{name: a}]\n  suspend: 'no'\n  resources: {cpu: 0.5}\n"
    )
    with pytest.raises(JobFileError) as refused:
        parse(wrong.encode())
    lines = str(refused.value).splitlines()
    fields = ["spec.script", "spec.args[1]", "spec.args[2]", "spec.inputs[0].uri", "spec.suspend", "spec.resources.cpu"]
    assert len(lines) == len(fields), lines
    for field in fields:
        assert [line for line in lines if line.startswith(field)], (field, lines)


def test_what_kubernetes_adds_to_an_object_is_no_mistake() -> None:
    text = GOOD.replace("  name: hello\n", "  name: hello\n  uid: x\n  creationTimestamp: 2026-11-24T04:00:00Z\n  generation: 1\n")
    job = parse((text + "status:\n  phase: Failed\n").encode())
    assert (job.metadata.name, job.metadata.namespace) == ("hello", "default")


def test_a_date_among_the_arguments_stays_text() -> None:
    assert parse((GOOD + "  args: [2026-11-24]\n").encode()).spec.args == ("2026-11-24",)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobFileError, match=r"job\.yaml cannot be read: No such file"):
        read(tmp_path / "job.yaml")
    (tmp_path / "job.yaml").write_text("kind: Pod\n")
    with pytest.raises(JobFileError, match=r"job\.yaml: kind is 'Pod'"):
        read(tmp_path / "job.yaml")


@given(st.binary(max_size=200) | st.text(alphabet="{}[]:-&*!|>'\" \nab1~#%@", max_size=60).map(str.encode))
def test_any_bytes_are_a_job_or_refused_in_words(data: bytes) -> None:
    with contextlib.suppress(JobFileError):
        assert isinstance(parse(data), JobFile)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["script", "args", "env", "inputs", "resources", "dependencies", "runtime", "suspend"]), VALUES)
def test_any_value_of_any_field_is_taken_or_refused_in_words(field: str, value: object) -> None:
    job = yaml.safe_load(GOOD)
    job["spec"][field] = value
    with contextlib.suppress(JobFileError):
        assert isinstance(parse(yaml.safe_dump(job).encode()), JobFile)
