"""Whatever goes wrong, and however much is logged: no secret, and nothing that was signed with one, is told or left anywhere."""

from __future__ import annotations

import base64
import re
import urllib.parse
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from tftrainer.messages.contract import Failure, FetchReport, Plan, PublishReport, Reason

from tests.integration.trainer import faulty_proxy, hurried
from tests.integration.trainer.faulty_proxy import Fault, FaultyProxy, Rule, faulty
from tests.integration.trainer.hurried import Hurry
from tests.integration.trainer.pods import ACCESS_KEY, SECRET_KEY, Ended, Pod, StoreServer
from tests.integration.trainer.test_faults_of_a_store import ran
from tests.integration.trainer.test_tls import authority
from tests.integration.trainer.tls import Authority, behind_tls

__all__ = ["authority"]
# A fixture is found by its name in the module that uses it.

SIGNED = ("X-Amz-Signature", "X-Amz-Credential", "AWS4-HMAC-SHA256", "Signature=")
SIGNATURE = re.compile(r"Signature=([0-9a-f]{64})")
NO_HOST = "http://no-such-host.invalid:9000"
OWN = "/.tftraining/"
BROKEN_XML = "<Error><Code>AccessDenied</Code><Message>{path} {authorization}"


def forms(secret: str) -> list[bytes]:
    """Return the ways in which a secret could be written down."""
    return [
        secret.encode(),
        base64.b64encode(secret.encode()),
        urllib.parse.quote(secret, safe="").encode(),
        secret[:8].encode(),
    ]


@dataclass(frozen=True)
class Cause:
    """Why a phase fails: a `fault` of the requests with `path` in theirs, another `endpoint`, or a method of our own that is `broken`."""

    name: str
    reason: Reason
    fault: Fault | None = None
    path: str = ""
    endpoint: str = ""
    broken: str = ""


@dataclass(frozen=True)
class Case:
    """A phase that has failed, and what went over its wire."""

    pod: Pod
    cause: Cause
    proxy: FaultyProxy
    ended: Ended
    wire: bytes


def causes(broken: str, tls: str) -> Sequence[Cause]:
    """Return one cause of each kind. The product's own records, among them the one that is written on a condition, are in `OWN`."""
    denied, garbage = faulty_proxy.refusal(403, "AccessDenied"), faulty_proxy.status(403, BROKEN_XML)
    return (
        Cause("403", Reason.STORAGE_DENIED, denied),
        Cause("403 for a record", Reason.STORAGE_DENIED, denied, path=OWN),
        Cause("500s for a record", Reason.STORAGE_UNAVAILABLE, faulty_proxy.refusal(500, "InternalError"), path=OWN),
        Cause("black hole", Reason.STORAGE_UNAVAILABLE, faulty_proxy.black_hole(), path=OWN),
        Cause("garbage", Reason.STORAGE_MISCONFIGURED, garbage),
        Cause("garbage for a record", Reason.STORAGE_MISCONFIGURED, garbage, path=OWN),
        Cause("unknown host", Reason.STORAGE_UNAVAILABLE, endpoint=NO_HOST),
        Cause("untrusted certificate", Reason.STORAGE_MISCONFIGURED, endpoint=tls),
        Cause("fault of our own", Reason.TRAINER_ERROR, broken=broken),
    )


@pytest.fixture
def tls(store_server: StoreServer, authority: Authority) -> Iterator[str]:
    """Return the URL of the store behind a certificate that nobody trusts."""
    with behind_tls(store_server, authority.sign("untrusted", "127.0.0.1", 2)) as endpoint:
        yield endpoint


def failed(folder: Path, server: StoreServer, phase: str, plan: Plan, cause: Cause) -> Case:
    pod = Pod(folder / "pod", server, server.new_bucket(), "")
    pod.put("code/train.py", "print(1)\n")
    if phase == "publish":
        ran(pod, {"out": b"1"})
    with faulty(server, *([Rule(cause.fault, path=cause.path)] if cause.fault else ())) as proxy:
        pod.credentials["ENDPOINT"] = cause.endpoint or proxy.endpoint
        wire = folder / "wire"
        hurry = Hurry(first=0.7, later=0.7, read=0.5, wire=str(wire), broken=cause.broken)
        return Case(pod, cause, proxy, pod.end(hurried.start(pod, phase, plan, hurry)), wire.read_bytes())


def told(case: Case) -> dict[str, bytes]:
    """Return all that somebody could read after a phase, by where it is."""
    places = {"output": case.ended.output.encode(), "termination message": case.ended.message}
    places |= {str(path): path.read_bytes() for path in case.pod.root.rglob("*") if path.is_file()}
    return places | {f"object {key}": case.pod.server.get(case.pod.bucket, key) for key in case.pod.server.keys(case.pod.bucket)}


def check(case: Case, failure: Failure | None) -> None:
    assert failure is not None, case.ended.output
    assert failure.reason is case.cause.reason, failure
    assert "all loggers speak" in case.ended.output
    assert "Traceback" not in case.ended.output
    asked = [f"{each.request.path} {each.request.headers.get('authorization', '')}" for each in case.proxy.passed]
    signatures = {found.encode() for each in asked for found in SIGNATURE.findall(each)}
    if case.cause.fault:
        # Else there is nothing to look for, or what would show it does not.
        assert signatures
        assert SIGNATURE.search(case.wire.decode())
    signed = [*signatures, *(each.encode() for each in SIGNED), ACCESS_KEY.encode()]
    shown = [(place, form) for place, content in told(case).items() for form in (*forms(SECRET_KEY), *signed) if form in content]
    assert shown == []
    assert [form for form in forms(SECRET_KEY) if form in case.wire] == []


@pytest.mark.parametrize(("phase", "broken"), [("fetch", "find"), ("publish", "upload")])
def test_no_failure_tells_a_secret_or_a_signature_anywhere(
    store_server: StoreServer, plan: Plan, tls: str, tmp_path: Path, phase: str, broken: str, subtests: pytest.Subtests
) -> None:
    def run(number: int, cause: Cause) -> Case:
        return failed(tmp_path / str(number), store_server, phase, plan, cause)

    with ThreadPoolExecutor(4) as pool:
        cases = list(pool.map(run, *zip(*enumerate(causes(broken, tls)), strict=True)))
    for case in cases:
        with subtests.test(case.cause.name):
            check(case, case.ended.report(FetchReport if phase == "fetch" else PublishReport).failure)
