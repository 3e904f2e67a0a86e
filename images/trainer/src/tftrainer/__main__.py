"""`python3 -I -m tftrainer fetch|run|publish`: one phase per container, each importing no more than its own phase.

Three need no plan: `describe` tells what the runtime holds; `stacks`, called in the container `trainer`, makes the running script
print where each of its threads is; `local` runs a job file through the phases without a cluster.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tftrainer.contract import Plan

PHASES: Final = ("fetch", "run", "publish")
DESCRIBE: Final = "describe"
STACKS: Final = "stacks"
LOCAL: Final = "local"
USAGE_ERROR: Final = 64


def main(arguments: list[str]) -> int:
    """Run one phase; the exit code is the container's."""
    if arguments[:1] == [DESCRIBE]:
        from tftrainer.describe import main as describe

        return describe(arguments[1:])
    if arguments == [STACKS]:
        from tftrainer.run.stacks import main as stacks

        return stacks()
    if arguments[:1] == [LOCAL]:
        from tftrainer.local.main import main as local

        return local(arguments[1:])
    if len(arguments) != 1 or arguments[0] not in PHASES:
        print(f"tftrainer: got {arguments!r}, expected one of: {', '.join((*PHASES, DESCRIBE, STACKS, LOCAL))}", file=sys.stderr)
        return USAGE_ERROR
    _listen(arguments[0])
    from tftrainer.contract import PLAN_VARIABLE, ContractError, decode_plan

    text = os.environ.get(PLAN_VARIABLE)
    if not text:
        print(f"tftrainer: the environment variable {PLAN_VARIABLE} is missing; the operator sets it", file=sys.stderr)
        return USAGE_ERROR
    try:
        plan = decode_plan(text)
    except ContractError as error:
        print(f"tftrainer: {error}", file=sys.stderr)
        return USAGE_ERROR
    return _phase(arguments[0], plan)


def _listen(name: str) -> None:
    """Let no stop be lost: PID 1 would never hear of one that comes before the phase, whose imports take a while, sets its handlers."""
    if name == "fetch":
        signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    else:
        # The script must not start then, and what there is must be published: the kernel keeps the signal until the phase is ready.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))


def _phase(name: str, plan: Plan) -> int:
    if name == "fetch":
        from tftrainer.fetch.phase import main as fetch

        return fetch(plan)
    if name == "publish":
        from tftrainer.publish.phase import main as publish

        return publish(plan)
    from tftrainer.layout import Layout
    from tftrainer.run.launcher import main as run
    from tftrainer.run.places import Places

    at = Layout.from_environment()
    return run(plan, Places(at.workspace, at.state, at.termination_log))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
