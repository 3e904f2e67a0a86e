"""The command line of the image tool."""

import argparse
import sys
import time
from collections.abc import Sequence

from localcluster.failure import ClusterError

from images import base, build, catalogue, deliver, programs
from images.catalogue import IMAGES, Image
from images.failure import ImageError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0 for success, 1 for a told failure, 130 for an interruption."""
    arguments = _parser().parse_args(argv)
    try:
        _dispatch(arguments)
    except (ImageError, ClusterError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; run the same command again to go on.", file=sys.stderr)
        return 130
    return 0


def _dispatch(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    chosen = _chosen(arguments.image)
    base_image = base.wanted()
    with catalogue.locked():
        _work(arguments, chosen, base_image, started)


def _work(arguments: argparse.Namespace, chosen: list[Image], base_image: str, started: float) -> None:
    if any(not image.archive(base_image).exists() for image in chosen):
        programs.install()
        build.tell(started, f"base: {base_image}")
        base.ensure(base_image)
    match arguments.command:
        case "build":
            build.build_all(chosen, base_image, started)
        case "load":
            deliver.load(chosen, base_image, started)
        case "push":
            deliver.push(chosen, base_image, arguments.registry, started)


def _chosen(names: list[str]) -> list[Image]:
    return list(IMAGES.values()) if not names or "all" in names else [IMAGES[name] for name in names]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="images", description="The images of the product for the local cluster.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _choice(commands.add_parser("build", help="build what the cache lacks"))
    _choice(commands.add_parser("load", help="put finished images into the local cluster"))
    push = commands.add_parser("push", help="push finished images to a registry")
    push.add_argument("registry", metavar="REGISTRY")
    _choice(push)
    return parser


def _choice(parser: argparse.ArgumentParser) -> None:
    explained = f"{', '.join(IMAGES)}; all of them if none is named"
    parser.add_argument("image", nargs="*", choices=[*IMAGES, "all", []], metavar="IMAGE", help=explained)


if __name__ == "__main__":
    sys.exit(main())
