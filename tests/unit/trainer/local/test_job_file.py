"""A wrong job file is refused by words that name the field, the value and what was expected."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tftrainer.local.job_file import JobFileError, parse, read
from tftrainer.local.plan import check_placeholders, plan, record, script_environment
from tftrainer.messages import contract

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
    "a label that is a number": (GOOD + "  scheduling: {nodeSelector: {zone: 1}}\n", ["spec.scheduling.nodeSelector[zone]", "1", "quotes"]),
    "a label with a bad key": (
        GOOD + "  scheduling: {nodeSelector: {a b: c}}\n",
        ["spec.scheduling.nodeSelector", "a b", "key of a label"],
    ),
    "an effect of another name": (
        GOOD + "  scheduling: {tolerations: [{key: a, effect: NoExecut}]}\n",
        ["spec.scheduling.tolerations[0].effect", "NoExecut", "NoSchedule, PreferNoSchedule, NoExecute", "did you mean NoExecute?"],
    ),
    "a class beside its own size": (GOOD + "  resourceClass: a\n  resources: {gpus: 1}\n", ["resourceClass", "workspace and sharedMemory"]),
    "a size without a unit": (GOOD + "  resources: {workspace: 10}\n", ["spec.resources.workspace", "10", "512Mi"]),
    "not a URI": (URI.replace("s3://bucket/x.py", "/home/me/x.py"), ["spec.script.uri", "s3://bucket/key"]),
    "a folder for a script": (URI.replace("x.py", "x/"), ["spec.script.uri", "not a folder"]),
    "two sources": (GOOD + "    uri: s3://bucket/x.py\n", ["spec.script", "exactly one of uri, inline, path and module"]),
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
    "a field whose name is a list": (GOOD + "? [a]\n: b\n", ["not YAML", "line 9", "expected text"]),
    "a date that is none": (GOOD + "  args: [!!timestamp x]\n", ["not YAML", "line 9", "timestamp"]),
    "a number that is none": (GOOD + "  args: [!!int '']\n", ["not YAML", "tag"]),
    "a word that is none of those there are": (
        GOOD + "  outputs: [{path: '${bucket}/a', onConflict: replace}]\n",
        ["spec.outputs[0].onConflict is 'replace'", "expected one of: Keep, Replace, Fail", "did you mean Replace?"],
    ),
    "a number for a word": (
        GOOD + "  outputs: [{path: '${bucket}/a', onConflict: 1}]\n",
        ["spec.outputs[0].onConflict is 1, expected one of: Keep, Replace, Fail"],
    ),
    "a list for a word": (
        GOOD + "  outputs: [{path: '${bucket}/a', onConflict: [Keep]}]\n",
        ["spec.outputs[0].onConflict is ['Keep'], expected one of: Keep, Replace, Fail"],
    ),
    "a set for a list": (GOOD + "  args: !!set {a, b}\n", ["not YAML", "line 9", "set"]),
    "a learning rate": (GOOD + "  args: [--rate, 1e-3]\n", ["spec.args[1]", "0.001", "expected text", "quotes"]),
    "a day of the month": (GOOD + "  args: [08]\n", ["spec.args[0]", "8.0", "expected text", "quotes"]),
    "a yes": (GOOD + "  args: [-f, y]\n", ["spec.args[1]", "true", "expected text", "quotes"]),
    "half an emoji among the arguments": (GOOD + '  args: ["\\ud83c!"]\n', ["spec.args[0]", "\\ud83c", "half of a surrogate pair"]),
    "half an emoji in the script": (GOOD.replace("print(1)", '"# \\udf89"'), ["spec.script.inline", "\\udf89", "no character"]),
    "half an emoji in a variable": (GOOD + '  env: [{name: A, value: "\\ud83c"}]\n', ["spec.env[0].value", "\\ud83c"]),
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


@pytest.mark.parametrize("word", contract.OnConflict)
def test_what_is_done_with_an_output_in_conflict_is_in_the_plan(word: contract.OnConflict) -> None:
    text = GOOD + f"  outputs: [{{path: '${{bucket}}/a', onConflict: {word}}}, {{path: '${{bucket}}/b'}}]\n"
    assert plan(parse(text.encode()), 0).outputs == (
        contract.Output(path="${bucket}/a", on_conflict=word),
        contract.Output(path="${bucket}/b", on_conflict=contract.OnConflict.KEEP),
    )


def test_a_date_among_the_arguments_stays_text() -> None:
    assert parse((GOOD + "  args: [2026-11-24]\n").encode()).spec.args == ("2026-11-24",)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobFileError, match=r"job\.yaml cannot be read: No such file"):
        read(tmp_path / "job.yaml")
    (tmp_path / "job.yaml").write_text("kind: Pod\n")
    with pytest.raises(JobFileError, match=r"job\.yaml: kind is 'Pod'"):
        read(tmp_path / "job.yaml")


def test_what_another_program_has_escaped_as_json_is_the_same_job() -> None:
    job = yaml.safe_load(GOOD)
    job["spec"]["script"]["inline"] = "print('done 🎉')\n"
    job["spec"]["args"] = ["ü", "🎉🎉"]
    assert "\\ud83c\\udf89" in json.dumps(job)
    spec = parse(json.dumps(job).encode()).spec
    assert (spec.script.inline, spec.args) == ("print('done 🎉')\n", ("ü", "🎉🎉"))


def test_plain_text_is_what_kubectl_takes_for_text() -> None:
    args = ["1:30", "2026-11-24", "=", "1.5.2", "0x", "--n", "v1", "nope"]
    assert parse((GOOD + f"  args: [{', '.join(args)}]\n").encode()).spec.args == tuple(args)


def test_a_mapping_may_be_merged_into_another_wherever_it_stands() -> None:
    text = GOOD.replace("  name: hello\n", "  name: hello\n  a: {b: {c: &c {<<: {d: 1}, d: 2}}}\n  e: {<<: *c}\n")
    assert parse(text.encode()).metadata.name == "hello"


def usable(data: bytes) -> None:
    """Read a job file, and hand it on as a run does."""
    with contextlib.suppress(JobFileError):
        job = parse(data)
        check_placeholders(job)
        contract.encode_plan(plan(job, 0)).encode()
        record(job).encode()
        (job.spec.script.inline or "").encode()
        for name, value in script_environment(job, plan(job, 0), "/workspace", {}).items():
            os.fsencode(name + value)
            assert "\0" not in name + value


TOKENS = ["? ", ": ", "- ", "[", "]", "{", "}", "\n", "  ", ", ", "&a ", "*a", "<<", "a", "1", "''", "|\n", "---\n", '"\\ud83c"']
TOKENS += [f"!!{name} " for name in ("int", "float", "bool", "null", "str", "map", "seq", "set", "omap", "binary", "timestamp")]


@settings(max_examples=200)
@given(st.binary(max_size=200) | st.text(alphabet="{}[]:-&*!|>?'\" \nab1~#%@", max_size=60).map(str.encode))
def test_any_bytes_are_a_job_or_refused_in_words(data: bytes) -> None:
    usable(data)


@settings(max_examples=200)
@given(st.lists(st.sampled_from(TOKENS), max_size=12).map("".join))
def test_any_yaml_beside_a_job_is_taken_or_refused_in_words(text: str) -> None:
    usable(text.encode())
    usable((GOOD + "  args: " + text).encode())
    usable((GOOD + text).encode())


CHARACTERS = st.text(alphabet=st.characters(), max_size=9)
"""Halves of surrogate pairs too, which YAML and JSON can escape."""
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | CHARACTERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(CHARACTERS, inner, max_size=3),
    max_leaves=8,
)
FIELDS = {
    "script": st.fixed_dictionaries({"name": st.just("a.py"), "inline": CHARACTERS}),
    "args": st.lists(CHARACTERS, max_size=3),
    "env": st.lists(st.fixed_dictionaries({"name": st.just("A"), "value": CHARACTERS}), max_size=1),
    "inputs": st.lists(st.fixed_dictionaries({"name": st.just("a"), "uri": CHARACTERS.map("${bucket}/".__add__)}), max_size=1),
    "resources": st.nothing(),
    "dependencies": st.nothing(),
    "runtime": CHARACTERS,
    "suspend": st.nothing(),
    "stop": st.nothing(),
}


@settings(max_examples=200)
@given(st.sampled_from(sorted(FIELDS)).flatmap(lambda field: st.tuples(st.just(field), VALUES | FIELDS[field])))
def test_any_value_of_any_field_is_taken_or_refused_in_words(changed: tuple[str, object]) -> None:
    job = yaml.safe_load(GOOD)
    job["spec"] |= [changed]
    usable(json.dumps(job).encode())
