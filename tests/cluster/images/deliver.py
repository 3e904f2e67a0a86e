"""Getting finished images to where a cluster takes them from."""

import time
from collections.abc import Mapping

from localcluster import binaries, cluster
from localcluster import images as store
from localcluster.layout import Layout

from images import build, programs
from images.catalogue import Image


def load(images: list[Image], base_image: str, started: float) -> None:
    """Put finished images into the local cluster; one that it already has is left alone.

    Raises ClusterError if the cluster is not up, ImageError if an image does not build.
    """
    layout = Layout.from_environment()
    held = references(store.control(layout, binaries.built(), "images", "list"))
    lacking = [image for image in images if not _holds(held, image, base_image)]
    build.build_all(lacking, base_image, started)
    for image in lacking:
        keyed = image.keyed_reference(base_image)
        archive = build.build(image, base_image, started)
        begun = time.monotonic()
        cluster.load_image(layout, archive, [keyed, image.reference])
        outdated = [name for name in held if name.startswith(f"{image.reference}-") and name != keyed]
        if outdated:
            store.control(layout, binaries.built(), "images", "remove", *outdated)
        build.tell(started, f"{image.name}: loaded in {time.monotonic() - begun:.0f} s")


def _holds(held: Mapping[str, str], image: Image, base_image: str) -> bool:
    keyed = image.keyed_reference(base_image)
    return keyed in held and held.get(image.reference) == held[keyed]


def references(listing: str) -> dict[str, str]:
    """Read the digest of each reference from what `ctr images list` prints."""
    rows = [line.split() for line in listing.splitlines()[1:]]
    return {row[0]: row[2] for row in rows if len(row) > 2}


def push(images: list[Image], base_image: str, registry: str, started: float) -> None:
    """Push finished images to a registry, under their own names below `registry`.

    Raises ImageError if the registry refuses.
    """
    for image in images:
        archive = build.build(image, base_image, started)
        target = image.keyed_reference(base_image, registry.rstrip("/"))
        programs.run(["buildah", "pull", "--quiet", f"oci-archive:{archive}"])
        programs.run(["buildah", "push", "--quiet", image.reference, f"docker://{target}"])
        build.tell(started, f"{image.name}: pushed as {target}")
