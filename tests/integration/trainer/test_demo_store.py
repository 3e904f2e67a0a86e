"""The demo store as the chart starts it, in a plain process."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml
from localcluster import binaries
from localcluster.failure import ClusterError

from tests.integration.trainer.pods import ACCESS_KEY, SECRET_KEY, StoreServer, free_ports, running_server

CHART = Path(__file__).resolve().parents[3] / "helm" / "tftraining-operator"
LARGE = os.urandom(11 * 1024**2)


def container() -> dict[str, Any]:
    """Return the store's container as the chart renders it."""
    try:
        helm = shutil.which("helm") or binaries.built().path("helm")
    except ClusterError:
        pytest.skip("no helm on PATH, and none built: `make up` builds one")
    command = [helm, "template", "tftraining", str(CHART), "--set", "dev.enabled=true"]
    rendered = subprocess.run(command, env={**os.environ, "KUBECONFIG": os.devnull}, capture_output=True, text=True, check=True).stdout
    for item in yaml.safe_load_all(rendered):
        if item and item["kind"] == "Deployment" and item["metadata"]["name"].endswith("-dev-s3"):
            [found] = [each for each in item["spec"]["template"]["spec"]["containers"] if each["name"] == "s3"]
            return dict(found)
    raise AssertionError("the chart has no demo store")


@contextlib.contextmanager
def demo_store(folder: Path) -> Iterator[StoreServer]:
    """Run what the container runs, its volume being `folder`/data."""
    try:
        program = binaries.build([binaries.STORE]).path("versitygw")
    except ClusterError as error:
        pytest.skip(f"no demo store: {error}")
    described = container()
    assert {each["name"]: each["valueFrom"]["secretKeyRef"]["key"] for each in described["env"]} == {
        "ROOT_ACCESS_KEY": "accessKey",
        "ROOT_SECRET_KEY": "secretKey",
    }
    [port] = free_ports(1)
    (folder / "data").mkdir(exist_ok=True)
    here = {f"--port=:{described['ports'][0]['containerPort']}": f"--port=127.0.0.1:{port}", "/data": f"{folder}/data"}
    assert here.keys() <= set(described["args"])
    command = [program, *(here.get(each, each) for each in described["args"])]
    with running_server(command, folder, f"127.0.0.1:{port}", {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}) as server:
        yield server


def test_the_demo_store_is_filled_and_has_everything_still_when_its_pod_comes_again_over_the_same_volume(tmp_path: Path) -> None:
    ensure = runpy.run_path(str(CHART / "files/dev/seed.py"))["ensure"]
    with demo_store(tmp_path) as server:
        ensure(server.client)
        assert server.keys("datasets") == ["demo/other/iris_test.csv", "demo/other/iris_training.csv"]
        server.client.put_object("tftraining", "model/weights.bin", io.BytesIO(LARGE), len(LARGE), part_size=5 * 1024**2)
        server.put("tftraining", "odd/a b+ü", "")
        before = [(each.object_name, each.size, each.etag) for each in server.client.list_objects("tftraining", recursive=True)]
    with demo_store(tmp_path) as server:
        ensure(server.client)
        assert [(each.object_name, each.size, each.etag) for each in server.client.list_objects("tftraining", recursive=True)] == before
        assert [(name, size) for name, size, _ in before] == [("model/weights.bin", len(LARGE)), ("odd/a b+ü", 0)]
        assert server.get("tftraining", "model/weights.bin") == LARGE


def test_the_demo_store_keeps_a_connection_for_the_next_request(tmp_path: Path) -> None:
    with demo_store(tmp_path) as server, urllib3.PoolManager(retries=False) as pool:
        answer = pool.request("GET", f"{server.endpoint}/")
        assert answer.status == 403
        assert answer.headers.get("Connection", "").lower() != "close"
