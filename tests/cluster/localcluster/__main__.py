"""The command line of the local cluster."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from localcluster import binaries, cluster, kubeconfigs, packages
from localcluster.failure import ClusterError
from localcluster.layout import Layout


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0 for success, 1 for a told failure, 130 for an interruption."""
    arguments = _parser().parse_args(argv)
    try:
        return _dispatch(arguments, Layout.from_environment())
    except ClusterError as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except PermissionError as refused:
        print(f"error: {refused.filename} may not be read or written by this user; run the command as root.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; run the same command again to go on.", file=sys.stderr)
        return 130


def _dispatch(arguments: argparse.Namespace, layout: Layout) -> int:
    match arguments.command:
        case "build":
            packages.install()
            binaries.build()
        case "up":
            cluster.up(layout, gpus=arguments.gpus)
        case "down":
            cluster.down(layout, purge=arguments.purge)
        case "status":
            return 0 if cluster.status(layout) else 1
        case "kubeconfig":
            print(layout.kubeconfig)
        case "audit-log":
            print(layout.audit_log)
        case "load-image":
            print("\n".join(cluster.load_image(layout, arguments.archive, arguments.reference)))
        case "gpus":
            cluster.gpus(layout, arguments.count)
        case "env":
            _print_environment(layout)
    return 0


def _print_environment(layout: Layout) -> None:
    kubeconfigs.check(layout.kubeconfig)
    folder = Path(binaries.built().path("kubectl")).parent
    kubeconfigs.hand_out(layout.kubeconfig, layout.user_kubeconfig)
    print(f"export KUBECONFIG={shlex.quote(str(layout.user_kubeconfig))}")
    print(f'export PATH={shlex.quote(str(folder))}:"$PATH"')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cluster", description="A real single-node Kubernetes for tests, on this machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("build", help="install the Debian packages and build the programs")
    up = commands.add_parser("up", help="start what does not run, and wait until the node takes pods")
    up.add_argument("--gpus", type=_count, metavar="N", help="pretend that the node has N GPUs")
    down = commands.add_parser("down", help="end everything; keep loaded images and logs")
    down.add_argument("--purge", action="store_true", help="remove loaded images and logs too")
    commands.add_parser("status", help="tell what runs; the exit status is 0 if all is ready")
    commands.add_parser("kubeconfig", help="print the path of the kubeconfig")
    commands.add_parser("audit-log", help="print the path of the log of all writes to the API server")
    commands.add_parser("env", help="print shell lines that point kubectl and helm at the cluster")
    load = commands.add_parser("load-image", help="put an OCI archive into the cluster's image store")
    load.add_argument("archive", type=Path, metavar="ARCHIVE")
    load.add_argument("reference", nargs="*", metavar="REF", help="such as localhost/trainer:dev")
    gpus = commands.add_parser("gpus", help="pretend that the node has N GPUs")
    gpus.add_argument("count", type=_count, metavar="N")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"`{text}` was expected to be a whole number, 0 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
