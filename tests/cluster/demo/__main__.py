"""`python -m demo run | install | env | test | test-all | test-distributed`."""

from __future__ import annotations

import argparse
import shlex
import sys

from demo.console import CommandError, Console
from demo.target import TargetError, find_bucket, local_exports, select_target


def main() -> int:
    """Run one command and return its exit code; failures are one clear message."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("command", choices=_COMMANDS)
    command = parser.parse_args().command
    console = Console()
    try:
        return _COMMANDS[command](console)
    except (CommandError, TargetError) as error:
        # Not to standard output: that of `env` is read by a shell.
        print(f"\nerror: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(console: Console) -> int:
    from demo.install import bring_up
    from demo.iris import show

    target = select_target()
    bring_up(console, target)
    show(console, target)
    return 0


def _install(console: Console) -> int:
    from demo.install import bring_up

    bring_up(console, select_target())
    return 0


def _env(_: Console) -> int:
    target = select_target()
    try:
        bucket = find_bucket(target)
    except CommandError as error:
        reason = str(error).strip().rpartition("\n")[2]
        raise TargetError(f"the cluster does not tell where the demo store is; `make up` starts and installs both ({reason})") from error
    for line in local_exports() if target.local else []:
        print(line)
    values = {
        "TFTRAINING_S3_ENDPOINT": bucket.endpoint,
        "TFTRAINING_S3_BUCKET": bucket.bucket,
        # For S3 clients, which know it by this name.
        "AWS_ENDPOINT_URL": bucket.endpoint,
        "AWS_ACCESS_KEY_ID": bucket.access_key,
        "AWS_SECRET_ACCESS_KEY": bucket.secret_key,
    }
    for name, value in values.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _test(console: Console) -> int:
    from demo.session import run_tests

    return run_tests(console, select_target())


def _test_all(console: Console) -> int:
    from demo.session import run_tests

    return run_tests(console, select_target(), whole=True)


def _test_distributed(console: Console) -> int:
    from demo.session import DISTRIBUTED, run_tests

    return run_tests(console, select_target(), whole=True, only=DISTRIBUTED)


_COMMANDS = {
    "run": _run,
    "install": _install,
    "env": _env,
    "test": _test,
    "test-all": _test_all,
    "test-distributed": _test_distributed,
}

if __name__ == "__main__":
    sys.exit(main())
