"""Images in the cluster's store, which no registry feeds."""

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

from localcluster import commands
from localcluster.binaries import Binaries
from localcluster.failure import ClusterError
from localcluster.layout import PAUSE_IMAGE, Layout


def control(layout: Layout, binaries: Binaries, *argv: str) -> str:
    """Ask containerd something about what the kubelet sees."""
    socket = str(layout.containerd_socket)
    return commands.run([binaries.path("ctr"), "--address", socket, "--namespace", "k8s.io", *argv])


def load(layout: Layout, binaries: Binaries, archive: Path, references: Sequence[str]) -> list[str]:
    """Import an OCI archive under the given references, or under the names that it holds; return the names.

    Raises ClusterError if the archive does not exist, a reference is incomplete, or no name is to be had.
    """
    if not archive.is_file():
        raise ClusterError(f"The image archive {archive} does not exist; give the path of an OCI archive.")
    names = [*references] or names_in(archive)
    if not names:
        raise ClusterError(f"The image archive {archive} holds no name; give one, such as localhost/trainer:dev.")
    for name in names:
        check_reference(name)
    # Without `--local`, a name that the archive holds as well is collected as garbage a moment after the import.
    control(layout, binaries, "images", "import", "--local", "--index-name", names[0], str(archive))
    for name in names[1:]:
        control(layout, binaries, "images", "tag", "--force", names[0], name)
    return names


def load_pause(layout: Layout, binaries: Binaries) -> None:
    """Give containerd the image of which every pod's sandbox is made."""
    if PAUSE_IMAGE in control(layout, binaries, "images", "list", "--quiet").split():
        return
    archive = layout.run / "pause.tar"
    archive.write_bytes(single_program_archive("pause", Path(binaries.path("pause")).read_bytes()))
    load(layout, binaries, archive, [PAUSE_IMAGE])
    archive.unlink()


def check_reference(name: str) -> None:
    """Raise ClusterError unless an image reference names a registry and a tag or digest, as containerd needs them."""
    registry, _, rest = name.partition("/")
    complete = (registry == "localhost" or "." in registry or ":" in registry) and (":" in rest or "@" in rest)
    if not complete:
        raise ClusterError(f"The image reference `{name}` was expected to have a registry part and a tag; write localhost/NAME:TAG.")


def names_in(archive: Path) -> list[str]:
    """Read the complete image references that an OCI archive holds."""
    try:
        with tarfile.open(archive) as content:
            member = content.extractfile("index.json")
            index = json.load(member) if member else {}
    except (tarfile.TarError, KeyError, ValueError) as broken:
        raise ClusterError(f"The image archive {archive} is no OCI archive; write one with `buildah push`.") from broken
    labels = [manifest.get("annotations", {}) for manifest in index.get("manifests", [])]
    keys = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
    return [name for label in labels if (name := next((label[key] for key in keys if key in label), ""))]


def single_program_archive(name: str, program: bytes) -> bytes:
    """Make an OCI archive of an image that holds one static program and runs it."""
    layer = _tar({name: program}, mode=0o755)
    config = _json({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": [f"/{name}"], "User": "65535:65535", "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    })  # fmt: skip
    manifest = _json({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _described("application/vnd.oci.image.config.v1+json", config),
        "layers": [_described("application/vnd.oci.image.layer.v1.tar", layer)],
    })  # fmt: skip
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [_described("application/vnd.oci.image.manifest.v1+json", manifest)],
    }
    files = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": _json(index)}
    blobs = {f"blobs/{_digest(blob).replace(':', '/')}": blob for blob in (layer, config, manifest)}
    return _tar(files | blobs, mode=0o644)


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _described(media_type: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _tar(files: dict[str, bytes], *, mode: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            entry.mode = mode
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()
