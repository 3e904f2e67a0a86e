"""The images: their names, what they are built from, and the key that tells whether a finished one still fits."""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from localcluster import binaries
from localcluster.binaries import Module

REPOSITORY = Path(__file__).resolve().parents[3]
RECIPE = "1"
LOCK = ("pyproject.toml", "uv.lock", "operator/pyproject.toml", "images/trainer/pyproject.toml")


@dataclass(frozen=True, slots=True)
class Image:
    """One image of the product. `sources` are the files and folders of the repository that its Dockerfile copies.

    With `module`, a program that is built from that Go module is all that it takes beside its Dockerfile: the demo store's pod holds
    what people have put into it, and is not to be replaced because something else has changed.
    """

    name: str
    reference: str
    dockerfile: str
    sources: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    module: Module | None = None

    def key(self, base: str) -> str:
        """Name what exactly these sources give on top of the base image `base`."""
        digest = hashlib.sha256(repr((RECIPE, base, self.reference, self.arguments)).encode())
        if self.module:
            digest.update(f"\0{self.module.name} {binaries.key(self.module)}\0".encode())
        for path in sorted(self._files()):
            digest.update(f"\0{path.relative_to(REPOSITORY)}\0".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]

    def archive(self, base: str) -> Path:
        """Return where the finished image of these sources is kept."""
        return cache() / f"{self.name}-{self.key(base)}.tar"

    def keyed_reference(self, base: str, registry: str = "localhost") -> str:
        """Return the reference that means exactly this image, in a registry or, by default, on the node itself."""
        return f"{self.reference.replace('localhost', registry, 1)}-{self.key(base)}"

    def _files(self) -> Iterator[Path]:
        for source in (self.dockerfile, *self.sources):
            path = REPOSITORY / source
            if path.is_dir():
                yield from (file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
            else:
                yield path


IMAGES = {
    image.name: image
    for image in (
        *(
            Image(
                runtime,
                f"localhost/tftraining-trainer:{runtime}",
                "images/trainer/Dockerfile",
                (*LOCK, "images/trainer/src"),
                (f"RUNTIME={runtime}",),
            )
            for runtime in ("tf1", "tf2")
        ),
        Image("operator", "localhost/tftraining-operator:dev", "operator/Dockerfile", (*LOCK, "operator/src", "images/trainer/src")),
        Image("dev-s3", "localhost/tftraining-dev-s3:dev", "tests/cluster/images/dev-s3.Dockerfile", (), module=binaries.STORE),
    )
}


def cache() -> Path:
    """Name the folder in which finished images are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "tftraining" / "images"


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Hold the cache for this process alone; another one that builds at the same time is waited for."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
