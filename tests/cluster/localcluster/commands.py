"""Running the machine's own programs."""

import subprocess
from collections.abc import Mapping, Sequence

from localcluster.failure import ClusterError


def run(argv: Sequence[str], *, text: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Run a program to its end, feed it `text`, and return what it printed.

    Raises ClusterError with the last line that the program wrote if it cannot be run or does not end well.
    """
    try:
        done = subprocess.run(argv, input=text, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError as missing:
        raise ClusterError(f"The program `{argv[0]}` was not found; run the command `build`, then try again.") from missing
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "it printed nothing").splitlines()[-1]
        raise ClusterError(f"`{' '.join(argv)}` was expected to end with status 0 but ended with {done.returncode}: {said}")
    return done.stdout


def succeeds(argv: Sequence[str]) -> bool:
    """Whether a program ends well; what it prints is dropped."""
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
