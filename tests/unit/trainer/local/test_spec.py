"""The job file of a local run has the fields of the API: names, defaults, bounds and rules are compared with the operator's models."""

from __future__ import annotations

import itertools
import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
import pytest
import yaml
from pydantic import BaseModel
from tftrainer.local import spec as local
from tftrainer.local.job_file import JobFileError, parse, read
from tftrainer.local.plan import check_placeholders
from tftrainer.local.rules import RULES
from tftraining_operator.api import API_VERSION, KIND
from tftraining_operator.api import fields as api_fields
from tftraining_operator.api import spec as api
from tftraining_operator.api.rules import Keys, Matches

from tests.integration.api.tables import ACCEPTED, REFUSED

REPOSITORY = Path(__file__).parents[4]
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.yaml"))
BOUNDS = {"min_length": "min_length", "max_length": "max_length", "ge": "ge", "le": "le"}


def alternatives(hint: Any) -> Iterator[Any]:
    """Yield what a hint is made of, annotated types as they are."""
    if isinstance(hint, types.UnionType) or str(get_origin(hint)) == "typing.Union":
        for each in get_args(hint):
            yield from alternatives(each)
    else:
        yield hint


def bounds(metadata: Iterator[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in metadata:
        for part in (each, *getattr(each, "metadata", ())):
            for name in BOUNDS:
                if getattr(part, name, None) is not None:
                    found[name] = getattr(part, name)
    return found


def rules_of_api(metadata: list[Any]) -> list[tuple[str, str, bool]]:
    rules = [(each.pattern, each.message, each.refuse) for each in metadata if isinstance(each, Matches)]
    return rules + [(each.pattern, f"a key {each.message}", False) for each in metadata if isinstance(each, Keys)]


def described(hint: Any) -> tuple[set[Any], dict[str, Any], list[tuple[str, str, bool]], Any]:
    """Return of a hint: its plain types, bounds, rules, and the type of its items."""
    kinds: set[Any] = set()
    limits: dict[str, Any] = {}
    rules: list[tuple[str, str, bool]] = []
    item: Any = None
    for each in alternatives(hint):
        plain, metadata = (get_args(each)[0], list(get_args(each)[1:])) if get_origin(each) is Annotated else (each, [])
        limits |= bounds(iter(metadata))
        rules += rules_of_api(metadata)
        rules += [tuple(rule) for meta in metadata if isinstance(meta, msgspec.Meta) for rule in (meta.extra or {}).get(RULES, ())]
        if plain is type(None):
            continue
        if get_origin(plain) is tuple:
            kinds.add(tuple)
            item = get_args(plain)[0]
        elif get_origin(plain) is dict:
            kinds.add(dict)
            key, item = get_args(plain)
            rules += [(pattern, f"a key {message}", refuse) for pattern, message, refuse in described(key)[2]]
        elif get_origin(plain) is Annotated:
            inner = described(plain)
            kinds |= inner[0]
            limits |= inner[1]
            rules += inner[2]
        else:
            kinds.add("object" if isinstance(plain, type) and issubclass(plain, BaseModel | msgspec.Struct) else plain)
    return kinds, limits, rules, item


def compare(model: type[BaseModel], struct: type[msgspec.Struct], path: str) -> int:
    ours = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    theirs = {field.alias or name: (name, field) for name, field in model.model_fields.items()}
    assert set(ours) == set(theirs), path
    hints, api_hints = get_type_hints(struct, include_extras=True), get_type_hints(model, include_extras=True)
    compared = 0
    for wire, (name, field) in theirs.items():
        place = f"{path}.{wire}"
        mine = ours[wire]
        assert mine.required is field.is_required(), place
        if not field.is_required() and not isinstance(field.default, BaseModel):
            assert mine.default == field.default, place
        kinds, limits, rules, item = described(hints[mine.name])
        api_kinds, api_limits, api_rules, api_item = described(api_hints[name])
        api_limits |= bounds(iter(field.metadata))
        # What the operator reads as digits, the definition takes as int-or-string.
        assert kinds - {int} == api_kinds - {int}, place
        assert (int in kinds) == (int in api_kinds or (api_rules != [] and takes_integers(api_hints[name]))), place
        assert limits == api_limits, place
        assert rules == api_rules, place
        compared += 1
        if item is not None:
            compared += compare_items(api_item, item, place)
        elif kinds == {"object"}:
            compared += compare(only_class(api_hints[name]), only_class(hints[mine.name]), place)
    return compared


def compare_items(api_item: Any, item: Any, place: str) -> int:
    if isinstance(item, type) and issubclass(item, msgspec.Struct):
        return compare(api_item, item, f"{place}[]")
    assert described(item)[:3] == described(api_item)[:3], place
    return 1


def only_class(hint: Any) -> Any:
    return next(each for each in alternatives(hint) if isinstance(each, type) and issubclass(each, BaseModel | msgspec.Struct))


def takes_integers(hint: Any) -> bool:
    cpu_or_size = [get_args(api_fields.Cpu)[1:], get_args(api_fields.Size)[1:]]
    return any(get_args(each)[1:] in cpu_or_size for each in alternatives(hint))


def test_every_field_of_the_api_is_a_field_of_the_job_file_with_the_same_type_default_bounds_and_rules() -> None:
    assert compare(api.Spec, local.Spec, "spec") > 35


def test_the_job_file_is_of_the_version_that_the_operator_serves() -> None:
    assert (local.API_VERSION, local.KIND, local.TOTAL_LIMIT) == (API_VERSION, KIND, api_fields.TOTAL_LIMIT)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_a_job_file_that_the_operator_reads_alike(path: Path) -> None:
    job = read(path)
    theirs = api.Spec.model_validate(yaml.safe_load(path.read_text())["spec"])
    ours, read_by_operator = json.loads(msgspec.json.encode(job.spec)), json.loads(theirs.model_dump_json(by_alias=True))
    # A quantity may be a number to one and its digits to the other.
    assert ours.pop("resources")["gpus"] == read_by_operator.pop("resources")["gpus"]
    assert ours == read_by_operator


def job_file(spec: Any) -> bytes:
    job = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "case"}, "spec": spec}
    return json.dumps(job).encode()


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_the_api_server_accepts_is_a_job_file(case: str) -> None:
    job = parse(job_file(ACCEPTED[case]))
    check_placeholders(job)


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_api_server_refuses_is_refused_here(case: str) -> None:
    with pytest.raises(JobFileError):
        check_placeholders(parse(job_file(REFUSED[case]["spec"])))


def test_there_are_examples() -> None:
    assert len(list(itertools.islice(EXAMPLES, 3))) == 3
