"""Specs with fields in many forms, good and bad: API server, operator and the program for local runs have to be of one mind about each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tftraining_operator.core.build import pod
from tftraining_operator.core.case import Case
from tftraining_operator.core.configuration import Configuration, Runtime
from tftraining_operator.core.observe import job_record
from tftraining_operator.core.records import Observed

CONFIGURATION = Configuration(default_runtime="tf2", runtimes={"tf2": Runtime(image="registry.test/tf2")})
PATHS = (
    *("a.py", "src/a.py", "./a.py", "src/./a.py", "a", "a b.py", "src//a.py", "..a/b..py", "a/...", "训.py", "$x.py", "a$", "$$a", "a}.py"),
    *("", ".", "./", "..", "../a", "a/..", "a/../b", "/a", "a/", "a/.", "a\\b", "${job}/a.py", "$${a.py", "{a", "a\n.py", "a\x85", "a\x7f"),
    *("a" * 512, "a" * 513, "a\u2028b", "~/a.py", "C:/a.py", "-c"),
)
MODULES = (
    *("a", "a.b", "_a._b1", "a.b.py1", "pytest", "a.pyx", "A.B", "py", "x.py", "a.b.py", "a..b", ".a", "a.", "a/b", "a-b", "1a", "a b", ""),
    *("训", "a\n", "a.1b", "__main__", "a" * 256, "a" * 257),
)
BROUGHT: tuple[dict[str, Any], ...] = (
    {"files": [{"uri": "${bucket}/p/"}]},
    {"archive": {"uri": "s3://bucket/a.zip"}},
    {"requirements": ["nltk"]},
    {"files": []},
    {"requirements": []},
    {"files": [], "requirements": []},
    {"files": [], "archive": {"uri": "s3://bucket/a.zip"}},
    {},
)
SOURCES: tuple[dict[str, Any], ...] = (
    *({"name": "a.py", "inline": "1", "path": "a.py"}, {"module": "a", "path": "a.py"}, {"module": "a", "name": "a.py"}),
    *({"uri": "s3://bucket/a.py", "module": "a"}, {"path": "a.py", "sha256": "0" * 64}, {"module": "a", "sha256": "0" * 64}),
)
KEYS = (
    *(
        "x",
        "${job}",
        "${attempt}/x",
        "a-${job}-${attempt}",
        "$${x}",
        "$${attempt}",
        "$$${x}",
        "$x",
        "a$",
        "$",
        "$$",
        "${}",
        "${x}",
        "${job",
    ),
    *(
        "${JOB}",
        "${inputs.a}",
        "${bucket}",
        "x/${job}${y}",
        "{job}",
        "$$$",
        "$ {x}",
        "${job}}",
        "$${job}${job}",
        "$$$${attempt}",
        "$\u2029",
    ),
)
ENVIRONMENTS: tuple[dict[str, Any], ...] = (
    *({"value": "x", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}, {"valueFrom": {}}, {"valueFrom": {"secretKeyRef": {}}}),
    *({"valueFrom": {"secretKeyRef": {"name": "s"}}}, {"valueFrom": {"secretKeyRef": {"key": "k"}}}),
    *(
        {"valueFrom": {"secretKeyRef": {"name": "s", "key": each}}}
        for each in ("k", "a.b-C_1", "", "a b", "a/b", "k" * 253, "k" * 254, "..")
    ),
    *({"valueFrom": {"secretKeyRef": {"name": each, "key": "k"}}} for each in ("a.b", "A", "", "a/b", "-a", "a" * 253, "a" * 254)),
    *({"value": "", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": each}}} for each in (True, False)),
)
CPUS: tuple[Any, ...] = (1, 0, 2, "2", "0.5", "500m", "1500m", "0m", "1.0", "1.0005", "m", "-1", "1e3", "1k", "", "9999", "9999999m", 10000)
SCRIPT: dict[str, Any] = {"uri": "s3://bucket/a.py"}


def specs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each spec, and what to call it."""
    for spec in _specs():
        yield json.dumps(spec, ensure_ascii=True)[:120], spec


def _specs() -> Iterator[dict[str, Any]]:
    project = BROUGHT[0]
    yield from ({"script": {"path": each}, "dependencies": project} for each in PATHS)
    yield from ({"script": {"module": each}, "dependencies": project} for each in MODULES)
    yield from ({"script": SCRIPT, "dependencies": {"files": [{"uri": "${bucket}/p/", "into": each}]}} for each in PATHS)
    yield from ({"script": script, "dependencies": each} for script in ({"path": "a.py"}, {"module": "a"}) for each in BROUGHT)
    yield from ({"script": script} for script in ({"path": "a.py"}, {"module": "a"}))
    yield from ({"script": each, "dependencies": project} for each in SOURCES)
    for key in KEYS:
        yield {"script": {"uri": f"s3://bucket/{key}"}}
        yield {"script": SCRIPT, "dependencies": {"archive": {"uri": f"${{bucket}}/{key}"}, "files": [{"uri": f"${{cos}}/{key}/"}]}}
        yield {"script": SCRIPT, "inputs": [{"name": "a", "uri": "s3://bucket/"}, {"name": "b", "uri": f"${{datasets}}/{key}"}]}
        yield {"script": SCRIPT, "outputs": [{"path": f"${{bucket}}/{key}"}]}
        yield {"script": SCRIPT, "model": {"path": f"${{bucket}}/{key}"}}
        yield {"script": SCRIPT, "checkpoints": {"path": f"${{bucket}}/{key}"}}
    for one in ("m", "m/", "m/c", "m-c", "${job}", "n/m"):
        for other in ("m", "m/", "m/c", "${job}/"):
            yield {"script": SCRIPT, "model": {"path": f"${{bucket}}/{one}"}, "checkpoints": {"path": f"${{cos}}/{other}"}}
    yield from ({"script": SCRIPT, "env": [{"name": "A"} | each]} for each in ENVIRONMENTS)
    yield from ({"script": SCRIPT, "resources": {"cpu": cpu, "cpuLimit": limit}} for cpu in CPUS for limit in CPUS)
    yield from ({"script": SCRIPT, "resources": {"cpuLimit": limit}} for limit in CPUS)


def operator_takes(spec: dict[str, Any]) -> bool:
    """Whether the operator makes a pod of the spec of a new job."""
    raw = {"metadata": {"name": "iris", "namespace": "team", "uid": "u"}, "spec": spec}
    record = job_record(raw)
    assert record is not None
    case = Case(Observed(record), CONFIGURATION, 0.0)
    if isinstance(case.parsed, str):
        return False
    try:
        pod(record, case.wanted, CONFIGURATION, 0)
    except ValueError:
        return False
    return True
