"""A store behind TLS whose certificate an own authority has signed; the bytes behind it are the real server's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tftrainer.messages.contract import Plan, Reason
from tftrainer.storage.credentials import Credentials
from tftrainer.storage.store import Store

from tests.integration.trainer.pods import ACCESS_KEY, SECRET_KEY, Pod, StoreServer
from tests.integration.trainer.tls import Authority, behind_tls

SCRIPT = "print('hello')\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.new(tmp_path_factory.mktemp("authority"))


def test_an_own_authority_in_the_secret_is_trusted_for_all_that_is_read_and_written(pod: Pod, plan: Plan, authority: Authority) -> None:
    pod.put("code/train.py", SCRIPT)
    with behind_tls(pod.server, authority.sign("good", "127.0.0.1", 2)) as endpoint:
        pod.credentials |= {"ENDPOINT": endpoint, "CA_CERTIFICATE": authority.certificate}
        ended, report = pod.fetch(plan)
        assert (ended.code, report.failure) == (0, None), ended.output
        assert (pod.workspace / "code" / "train.py").read_text() == SCRIPT


@pytest.mark.parametrize(
    ("address", "days", "trusted", "words"),
    [
        ("127.0.0.1", 2, False, "unable to get local issuer certificate"),
        ("127.0.0.1", -1, True, "certificate has expired"),
        ("127.0.0.9", 2, True, "IP address mismatch"),
    ],
)
def test_a_certificate_that_cannot_be_accepted_is_told_with_its_fault_and_the_secrets_key(
    pod: Pod, plan: Plan, authority: Authority, address: str, days: int, trusted: bool, words: str
) -> None:
    pod.put("code/train.py", SCRIPT)
    with behind_tls(pod.server, authority.sign(f"bad{days}{address}", address, days)) as endpoint:
        pod.credentials |= {"ENDPOINT": endpoint} | ({"CA_CERTIFICATE": authority.certificate} if trusted else {})
        ended, report = pod.fetch(plan)
    assert report.failure is not None, ended.output
    assert report.failure.reason is Reason.STORAGE_MISCONFIGURED
    assert words in report.failure.message
    assert "caCertificate of the storage Secret" in report.failure.hint
    assert ended.seconds < 60


def test_a_run_without_a_cluster_trusts_a_bundle_that_is_longer_than_a_variable_can_be(
    store_server: StoreServer, authority: Authority, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.crt"
    bundle.write_text(f"# {'ü' * 128 * 1024}\n{authority.certificate}", "utf-8")
    spec = {"script": {"name": "train.py", "inline": SCRIPT}}
    job = {"apiVersion": "tftraining.dev/v1alpha1", "kind": "TFTrainingJob", "metadata": {"name": "tls"}, "spec": spec}
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    with behind_tls(store_server, authority.sign("local", "127.0.0.1", 2)) as endpoint:
        for address in (endpoint, store_server.endpoint):
            environment = {
                "TFTRAINING_S3_ENDPOINT": address,
                "TFTRAINING_S3_BUCKET": store_server.new_bucket(),
                "AWS_ACCESS_KEY_ID": ACCESS_KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
                "AWS_CA_BUNDLE": "bundle.crt",
            }
            command = [sys.executable, "-m", "tftrainer", "local", "job.yaml"]
            done = subprocess.run(command, env=os.environ | environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
            assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


def test_a_large_object_comes_in_blocks_and_not_record_by_record(store_server: StoreServer, authority: Authority, tmp_path: Path) -> None:
    bucket, data, record = store_server.new_bucket(), os.urandom(16 * 1024**2), 16 * 1024
    store_server.put(bucket, "large", data)
    pieces: list[int] = []
    with behind_tls(store_server, authority.sign("blocks", "127.0.0.1", 2)) as endpoint:
        keys = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "region": "us-east-1", "ca_certificate": authority.certificate}
        store = Store(Credentials("storage Secret", True, endpoint.removeprefix("https://"), bucket, **keys))
        found = store.find("large")
        assert found is not None
        store.download(found, tmp_path / "large", progress=pieces.append)
    assert (tmp_path / "large").read_bytes() == data
    assert len(pieces) < len(data) / record / 4
