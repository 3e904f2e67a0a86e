"""`python3 -I -m tftrainer COMMAND`: one phase per container, each importing no more than its own phase, and three that need no plan.

`fetch` may be followed by what the image has to know (`--contract=2`).
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tftrainer.messages.contract import Plan

FETCH: Final = "fetch"
PHASES: Final = (FETCH, "run", "publish")
DESCRIBE: Final = "describe"
STACKS: Final = "stacks"
LOCAL: Final = "local"
UNKNOWN_COMMAND: Final = 2
HELP: Final = """\
usage: python -m tftrainer COMMAND

What trains a script for tftraining: in a pod, or on one's own machine.

  local JOB.yaml   run a job file on this machine, without a cluster; local --help says more
  describe         tell what this environment, or this image, holds: Python, TensorFlow, CUDA; --json for programs
  stacks           in the container trainer of a pod: print into its log where each thread of the running script is

The phases of a pod, which the operator starts:

  fetch            bring code and data into the workspace
  run              run the script
  publish          bring into the bucket what the script has written
"""


def main(arguments: list[str]) -> int:
    """Run one phase; the exit code is the container's. 2 for a command that there is not."""
    if arguments[:1] in (["-h"], ["--help"], ["help"]):
        print(HELP, end="")
        return 0
    if arguments[:1] == [DESCRIBE]:
        from tftrainer.describe import main as describe

        return describe(arguments[1:])
    if arguments == [STACKS]:
        from tftrainer.run.stacks import main as stacks

        return stacks()
    if arguments[:1] == [LOCAL]:
        from tftrainer.local.main import main as local

        return local(arguments[1:])
    phase, asked = (arguments or [""])[0], arguments[1:]
    if phase not in PHASES:
        return _unknown(arguments)
    _listen(phase)
    from tftrainer.messages.contract import CONTRACT, CONTRACT_OPTION, PLAN_VARIABLE, USAGE_ERROR, ContractError, decode_plan

    if asked and (phase != FETCH or len(asked) > 1 or not asked[0].startswith(CONTRACT_OPTION)):
        return _unknown(arguments)
    if asked and asked[0] not in [f"{CONTRACT_OPTION}{number}" for number in range(1, CONTRACT + 1)]:
        print(f"tftrainer: got {asked[0]!r}, but this image knows no more than {CONTRACT_OPTION}{CONTRACT}", file=sys.stderr)
        return USAGE_ERROR
    text = os.environ.get(PLAN_VARIABLE)
    if not text:
        print(f"tftrainer: the environment variable {PLAN_VARIABLE} is missing; the operator sets it", file=sys.stderr)
        return USAGE_ERROR
    try:
        plan = decode_plan(text)
    except ContractError as error:
        print(f"tftrainer: {error}", file=sys.stderr)
        return USAGE_ERROR
    return _phase(phase, plan)


def _unknown(arguments: list[str]) -> int:
    wrong = f"tftrainer: there is no command {' '.join(arguments)!r}\n\n" if arguments else ""
    print(f"{wrong}{HELP}", end="", file=sys.stderr)
    return UNKNOWN_COMMAND


def _listen(name: str) -> None:
    """Let no stop be lost: PID 1 would never hear of one that comes before the phase, whose imports take a while, sets its handlers."""
    if name == FETCH:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    else:
        # The script must not start then, and what there is must be published: the kernel keeps the signal until the phase is ready.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))


def _phase(name: str, plan: Plan) -> int:
    if name == FETCH:
        from tftrainer.fetch.phase import main as fetch

        return fetch(plan)
    if name == "publish":
        from tftrainer.publish.phase import main as publish

        return publish(plan)
    from tftrainer.run.launcher import main as run

    return run(plan)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
