"""Building an image into an OCI archive of the cache."""

import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from localcluster import binaries

from images import base, catalogue, programs
from images.catalogue import Image

# Settings by which clients of package registries find and trust them. They are handed to the build as a secret mount, so that
# neither a layer nor an image's history tells how this machine reaches the outside.
_CLIENT_PREFIXES = ("PIP_", "UV_INDEX", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX", "UV_FIND_LINKS", "UV_INSECURE")
_CLIENT_NAMES = frozenset({"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"})
_PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"})
_COMPRESSION = ("--compression-format", "zstd", "--compression-level", "1")
# Folders of this machine that a build cannot see.
_LOCAL_ONLY = frozenset({"PIP_FIND_LINKS", "UV_FIND_LINKS", "PIP_CACHE_DIR", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_CONFIG_FILE"})


def build_all(images: Sequence[Image], base_image: str, started: float) -> None:
    """Build what the cache lacks, two at a time: while one waits for the network, another one compiles.

    Raises ImageError with the end of the builder's log if one does not build.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        for finished in [pool.submit(build, image, base_image, started) for image in images]:
            finished.result()


def build(image: Image, base_image: str, started: float) -> Path:
    """Return the archive of the image, building it first if the cache lacks it; older ones of the same name are dropped.

    Raises ImageError with the end of the builder's log if it does not build, ClusterError if its program does not.
    """
    archive = image.archive(base_image)
    if archive.exists():
        tell(started, f"{image.name}: unchanged ({_megabytes(archive)})")
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    tell(started, f"{image.name}: building")
    begun = time.monotonic()
    unfinished = archive.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    log = archive.parent / f"{image.name}.log"
    with tempfile.NamedTemporaryFile("w", prefix="client-") as client:
        client.write("".join(client_settings(os.environ)))
        client.flush()
        programs.run(_build_command(image, base_image, client.name), log=log)
    # The fastest compression there is: an archive goes to the next process on this machine, but the disk is slower still.
    programs.run(["buildah", "push", "--quiet", *_COMPRESSION, image.reference, f"oci-archive:{unfinished}:{image.reference}"])
    unfinished.rename(archive)
    for old in archive.parent.glob(f"{image.name}-*.tar"):
        if old != archive and len(old.stem) == len(archive.stem):
            old.unlink()
    tell(started, f"{image.name}: built in {time.monotonic() - begun:.0f} s ({_megabytes(archive)})")
    return archive


def client_settings(environment: Mapping[str, str]) -> Iterator[str]:
    """Give the shell lines that set up package clients in the build as in `environment`."""
    for name, value in sorted(environment.items()):
        known = name in _CLIENT_NAMES or name.startswith(_CLIENT_PREFIXES) or name.upper() in _PROXIES
        if known and name not in _LOCAL_ONLY:
            yield f"export {name}={shlex.quote(value)}\n"
    # uv trusts what the machine trusts, as pip does.
    yield "export UV_SYSTEM_CERTS=1\n"


def tell(started: float, what: str) -> None:
    """Print one line of progress."""
    # One write a line: several threads tell at once.
    sys.stdout.write(f"[{time.monotonic() - started:4.0f} s] {what}\n")
    sys.stdout.flush()


def _build_command(image: Image, base_image: str, client: str) -> list[str]:
    arguments = [part for argument in (f"BASE_IMAGE={base_image}", *image.arguments) for part in ("--build-arg", argument)]
    context = ["--build-context", f"program={binaries.build([image.module]).folders[0]}"] if image.module else []
    certificates = ["-v", "/etc/ssl/certs:/etc/ssl/certs:ro"] if Path("/etc/ssl/certs").is_dir() else []
    return [
        "buildah",
        "bud",
        "--quiet",
        "--layers",
        "--isolation",
        "chroot",
        "--network",
        "host",
        *(["--pull-never"] if base_image == base.STAND_IN else []),
        *certificates,
        "--secret",
        f"id=client,src={client}",
        *arguments,
        *context,
        "--file",
        str(catalogue.REPOSITORY / image.dockerfile),
        "--tag",
        image.reference,
        str(catalogue.REPOSITORY),
    ]


def _megabytes(archive: Path) -> str:
    return f"{archive.stat().st_size / 1e6:.0f} MB"
