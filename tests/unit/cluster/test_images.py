"""The image tool: what names an image, and what of the machine may enter a build."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from localcluster import binaries
from localcluster.binaries import Module

from images import build, catalogue, deliver


def test_the_key_follows_sources_base_and_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "REPOSITORY", tmp_path)
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    (tmp_path / "src" / "__pycache__").mkdir(parents=True)
    (tmp_path / "src" / "a.py").write_text("1\n")
    image = catalogue.Image("x", "localhost/x:dev", "Dockerfile", ("src",))
    first = image.key("base")
    (tmp_path / "src" / "__pycache__" / "a.pyc").write_text("compiled")
    assert image.key("base") == first
    assert image.key("other") != first
    assert dataclasses.replace(image, arguments=("A=1",)).key("base") != first
    (tmp_path / "src" / "a.py").write_text("2\n")
    assert image.key("base") != first


def test_the_key_of_an_image_with_a_program_follows_what_that_is_built_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "REPOSITORY", tmp_path)
    monkeypatch.setattr(binaries, "_MODULES", tmp_path)
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "go.mod").write_text("module x\n")
    image = catalogue.Image("x", "localhost/x:dev", "Dockerfile", (), module=Module("gateway", ("tool",)))
    first = image.key("base")
    (tmp_path / "uv.lock").write_text("anew\n")
    assert image.key("base") == first
    (tmp_path / "gateway" / "go.mod").write_text("module x\n\nrequire y v1.0.0\n")
    assert image.key("base") != first


def test_clients_of_registries_keep_their_settings_and_nothing_else_enters_a_build() -> None:
    environment = {
        "PIP_INDEX_URL": "https://user:it's@mirror/simple",
        "https_proxy": "http://proxy:1",
        "SSL_CERT_FILE": "/etc/ssl/certs/ca.crt",
        "PIP_FIND_LINKS": "/somewhere",
        "AWS_SECRET_ACCESS_KEY": "canary",
        "HOME": "/home/me",
    }
    text = "".join(build.client_settings(environment))
    assert "export PIP_INDEX_URL='https://user:it'\"'\"'s@mirror/simple'\n" in text
    assert "export https_proxy=http://proxy:1\n" in text
    assert "SSL_CERT_FILE" in text
    for absent in ("canary", "HOME", "FIND_LINKS"):
        assert absent not in text


def test_references_of_the_cluster_are_read_with_their_digests() -> None:
    listing = "REF TYPE DIGEST SIZE PLATFORMS LABELS\nlocalhost/x:dev application/vnd sha256:aa 1 MiB linux/amd64 -\n\n"
    assert deliver.references(listing) == {"localhost/x:dev": "sha256:aa"}
