"""How the operator is known to the API server in a pod, and what it says where it is in none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tftraining_operator.kube import service_account
from tftraining_operator.kube.credentials import CredentialsError
from tftraining_operator.kube.service_account import ServiceAccount


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which a kubelet leaves a pod's token and authority."""
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "ca.crt").write_text("authority")
    monkeypatch.setattr(service_account, "FOLDER", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return tmp_path


async def test_a_pods_service_account_is_found_where_the_kubelet_leaves_it(folder: Path) -> None:
    account = ServiceAccount()
    await account.renew()
    assert (account.server, account.token(), account.authority_path) == ("https://10.96.0.1:443", "first", str(folder / "ca.crt"))


async def test_an_address_of_version_6_gets_its_brackets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    account = ServiceAccount()
    await account.renew()
    assert account.server == "https://[fd00::1]:443"


async def test_a_new_token_is_taken_within_a_minute_and_one_that_cannot_be_read_leaves_the_old_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(service_account.time, "monotonic", lambda: now[0])
    account = ServiceAccount()
    await account.renew()
    for content, expected in (("second", "second"), ("", "second"), (None, "second")):
        if content is None:
            (folder / "token").unlink()
        else:
            (folder / "token").write_text(content)
        now[0] += 61
        assert account.token() == expected


@pytest.mark.parametrize("missing", ["KUBERNETES_SERVICE_HOST", "token", "ca.crt"])
async def test_outside_of_a_pod_it_says_what_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    if missing.isupper():
        monkeypatch.delenv(missing)
    else:
        (folder / missing).unlink()
    with pytest.raises(CredentialsError, match=missing):
        await ServiceAccount().renew()


def test_in_a_pod_the_official_client_is_not_even_imported(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"defaultRuntime": "tf2", "runtimes": {"tf2": {"image": "x"}}}))
    # Without a pod around it, it ends where it asks for its credentials; by then it has imported all it ever does.
    argv = [sys.executable, "-X", "importtime", "-m", "tftraining_operator", "run", "--config", str(config)]
    done = subprocess.run(argv, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert done.returncode == os.EX_CONFIG
    assert "KUBERNETES_SERVICE_HOST" in done.stderr
    assert "kopf" in imported
    # That kopf tried to is in the list too.
    assert not imported & {"kubernetes", "kubernetes.client.models", "kubernetes.aio", "requests", "urllib3", "oauthlib"}
