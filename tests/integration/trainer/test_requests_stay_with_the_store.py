"""Credentials go to the store that the Secret names and to nobody else: not to a server that a job, or the store's answer, names."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from tftrainer.messages.contract import FetchReport, Input, Plan, PublishReport, Reason, Reference, Script
from tftrainer.phase_error import PhaseError
from tftrainer.storage.credentials import Credentials
from tftrainer.storage.patience import Patience
from tftrainer.storage.store import ObjectInfo, Store
from tftrainer.storage.upload import SINGLE

from tests.integration.trainer import faulty_proxy
from tests.integration.trainer.faulty_proxy import Rule, faulty
from tests.integration.trainer.package_index import running_index
from tests.integration.trainer.pods import ACCESS_KEY, SECRET_KEY, Ended, Pod
from tests.integration.trainer.test_faults_of_a_store import ran

REDIRECTS = (301, 302, 303, 307, 308)
SCRIPT = "print(1)\n"


@dataclass
class Canary:
    """A server that nobody has a reason to ask. `heard` has a line for each connection, and each request with its headers."""

    url: str = ""
    heard: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.url.removeprefix("http://")


@pytest.fixture
def canary() -> Iterator[Canary]:
    found = Canary()

    class Handler(http.server.BaseHTTPRequestHandler):
        def note(self) -> None:
            found.heard.append(f"{self.command} {self.path}\n{self.headers}")
            self.send_error(404)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_CONNECT = note  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def verify_request(self, request: object, client_address: object) -> bool:
            found.heard.append("connected")
            return True

    server = Server(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def store(endpoint: str, bucket: str) -> Store:
    credentials = Credentials(
        label="storage Secret",
        secure=False,
        host=endpoint.removeprefix("http://"),
        bucket=bucket,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
    )
    return Store(credentials, Patience(first=1.0, later=1.0))


def upload_large(store: Store, path: Path) -> None:
    with path.open("w+b") as file:
        file.truncate(SINGLE + 1)
        store.upload("a", file, SINGLE + 1)


REQUESTS: dict[str, Callable[[Store, Path], object]] = {
    "HEAD": lambda store, _: store.find("a"),
    "GET": lambda store, _: store.read("a", 100),
    "GET of a list": lambda store, _: list(store.list("a")),
    "GET of a file": lambda store, path: store.download(ObjectInfo("a", 1000, "etag"), path),
    "GET of ranges": lambda store, path: store.download(ObjectInfo("a", 40 * 1024**2, "etag"), path),
    "PUT": lambda store, _: store.write("a", b"1"),
    "PUT on a condition": lambda store, _: store.write_if_absent("a", b"1"),
    "POST": lambda store, path: upload_large(store, path.with_name("large")),
    "DELETE": lambda store, _: store.delete("a"),
}


@pytest.mark.parametrize("code", REDIRECTS)
@pytest.mark.parametrize("request_", REQUESTS)
def test_no_redirect_is_followed_and_the_endpoint_is_told_to_be_wrong(
    pod: Pod, canary: Canary, tmp_path: Path, request_: str, code: int
) -> None:
    with faulty(pod.server, Rule(faulty_proxy.status(code, Location=f"{canary.url}/{pod.bucket}/a"))) as proxy:
        with pytest.raises(PhaseError) as caught:
            REQUESTS[request_](store(proxy.endpoint, pod.bucket), tmp_path / "file")
        assert proxy.passed
    assert canary.heard == []
    assert caught.value.failure.reason is Reason.STORAGE_MISCONFIGURED
    assert proxy.endpoint in caught.value.failure.message
    assert canary.address not in caught.value.failure.message + caught.value.failure.hint
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize(
    ("phase", "method", "path", "code"),
    [
        ("fetch", "GET", "/train.py", 302),
        ("fetch", "HEAD", "/train.py", 307),
        ("publish", "PUT", "/out", 307),
        ("publish", "PUT", "/manifest.json", 308),
    ],
)
def test_a_phase_whose_store_redirects_it_elsewhere_ends_with_the_stores_own_name(
    pod: Pod, plan: Plan, canary: Canary, phase: str, method: str, path: str, code: int
) -> None:
    pod.put("code/train.py", SCRIPT)
    if phase == "publish":
        ran(pod, {"out": b"1"})
    with faulty(pod.server, Rule(faulty_proxy.status(code, Location=f"{canary.url}/elsewhere"), method, path)) as proxy:
        pod.credentials["ENDPOINT"] = proxy.endpoint
        ended = pod.end(pod.start(phase, plan))
        assert proxy.asked(method, path)
    failure = ended.report(FetchReport if phase == "fetch" else PublishReport).failure
    assert failure is not None, ended.output
    assert failure.reason is Reason.STORAGE_MISCONFIGURED
    assert proxy.endpoint in failure.message
    assert canary.heard == []
    assert not list(pod.workspace.glob("code/*"))
    assert not [key for key in pod.server.keys(pod.bucket) if key.endswith("manifest.json")]


def surrounded(pod: Pod, phase: str, plan: Plan, canary: Canary, monkeypatch: pytest.MonkeyPatch) -> Ended:
    """Run a phase whose environment names the canary wherever a client of a store might look for one."""
    named = (
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "S3_ENDPOINT",
        "S3_ENDPOINT_URL",
        "MINIO_ENDPOINT",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    )
    proxies = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
    own = pod.environment(plan) | dict.fromkeys((*named, *proxies), canary.url) | {"AWS_EC2_METADATA_SERVICE_ENDPOINT": canary.url}
    monkeypatch.setattr(pod, "environment", lambda _plan: own)
    return pod.end(pod.start(phase, plan))


def test_a_server_that_a_job_names_in_arguments_and_environment_hears_nothing(
    pod: Pod, plan: Plan, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.put("code/train.py", SCRIPT)
    named = (canary.url, f"--endpoint={canary.url}", f"s3://{canary.address}/bucket/key", f"--data={canary.url}/data.csv", canary.address)
    plan = msgspec.structs.replace(plan, args=named)
    ended = surrounded(pod, "fetch", plan, canary, monkeypatch)
    report = ended.report(FetchReport)
    assert (ended.code, report.failure, report.resolved_args) == (0, None, named), ended.output
    ended = pod.end(pod.start("run", plan))
    assert ended.code == 0, ended.output
    ended = surrounded(pod, "publish", plan, canary, monkeypatch)
    assert ended.report(PublishReport).succeeded, ended.output
    assert canary.heard == []


@pytest.mark.parametrize("place", ["script", "archive", "files", "inputs"])
def test_an_s3_uri_names_a_bucket_and_never_a_server(pod: Pod, plan: Plan, canary: Canary, place: str) -> None:
    pod.put("code/train.py", SCRIPT)
    uri = f"s3://{canary.address}/code/train.py"
    changes = {
        "script": {"script": Script(name="train.py", uri=uri)},
        "archive": {"archive": Reference(uri=uri)},
        "files": {"files": (Reference(uri=uri),)},
        "inputs": {"inputs": (Input(name="data", uri=uri),)},
    }
    ended, report = pod.fetch(msgspec.structs.replace(plan, **changes[place]))
    assert report.failure is not None, ended.output
    assert report.failure.reason is Reason.INVALID_SPEC
    assert canary.address in report.failure.message
    assert canary.heard == []


def test_a_package_that_a_requirement_names_by_address_is_asked_for_without_credentials(pod: Pod, plan: Plan, canary: Canary) -> None:
    """The API takes no such requirement; what installs packages has no credentials all the same."""
    pod.put("code/train.py", SCRIPT)
    requirements = (f"helper @ {canary.url}/helper-1.0-py3-none-any.whl",)
    with running_index() as index:
        ended, report = pod.fetch(msgspec.structs.replace(plan, requirements=requirements, package_index=index.url))
        heard = "\n".join((*canary.heard, *index.headers)).lower()
    assert report.failure is not None, ended.output
    assert "GET /helper-1.0-py3-none-any.whl".lower() in heard
    assert [each for each in ("authorization:", "x-amz-", ACCESS_KEY, SECRET_KEY[:8].lower()) if each in heard] == []
