"""What the operator is told while the script runs: words for the job's status. Nothing but they depend on it.

The way there may be closed, by a network policy, or the operator away: then the same words are in the log, and at the end in the
publisher's last word.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from tftrainer.layout import Layout
from tftrainer.messages import contract
from tftrainer.messages.contract import LiveReport, Note, Reason, RunNotes
from tftrainer.outputs import tree
from tftrainer.outputs.repeating import Repeating
from tftrainer.phase_error import PhaseError, clip

PAUSE_SECONDS: Final = 2.0
"""Between two looks at whether there is something to tell."""
AGAIN_SECONDS: Final = 10.0
"""Between two reports, whatever there is to tell."""
LONGEST_SECONDS: Final = 120.0
"""The same where reports do not arrive."""
PATIENCE: Final = 3
"""Reports in a row that do not arrive before that is said: an operator that is upgraded is away for a while."""
STANDBY_TRIES: Final = 12
"""Times in a row that a report is sent again as soon as whoever stands by asks for: each may reach the process that works, and until one
does again after a loss take twenty seconds."""
_TIMEOUT_SECONDS: Final = 5.0
_NOTES_FILE_LIMIT: Final = 64 * 1024
_ANSWER_LIMIT: Final = 200


class _NotNowError(OSError):
    """A process of the operator has not taken the report; `seconds` after which it says that one will."""

    def __init__(self, seconds: float, answer: str) -> None:
        super().__init__(answer)
        self.seconds = seconds


class LiveReports:
    """Sends, in a thread of its own, what has changed since the last report that arrived. `clock` gives monotonic seconds.

    `checkpoint` gives the newest checkpoint in the bucket, in words. The folder of the run is the user's too: what lies in it is words.
    """

    def __init__(
        self,
        url: str,
        token: Path,
        run_folder: Path,
        checkpoint: Callable[[], str],
        say: Callable[[str], None],
        clock: Callable[[], float],
        pause: float = PAUSE_SECONDS,
    ) -> None:
        self._url = url
        self._token = token
        self._run_folder = run_folder
        self._checkpoint = checkpoint
        self._clock = clock
        self._sent = LiveReport()
        self._next_at = 0.0
        self._failures = 0
        self._put_off = 0
        self._repeating = Repeating("the job's status cannot be kept up to date", self._look, lambda: pause, say)

    def start(self) -> None:
        """Begin."""
        self._repeating.start()

    def end(self) -> None:
        """Ask to stop, and do not wait."""
        self._repeating.end()

    def stop(self) -> None:
        """Send no more; does not wait for a request that hangs."""
        self._repeating.stop(0)

    def _look(self) -> None:
        report = LiveReport(notes=notes(self._run_folder), checkpoint=self._checkpoint())
        now = self._clock()
        if report == self._sent or now < self._next_at:
            return
        try:
            _send(self._url, self._token.read_text().strip(), msgspec.json.encode(report))
        except (OSError, ValueError) as error:
            if isinstance(error, _NotNowError) and self._put_off < STANDBY_TRIES:
                self._put_off += 1
                self._next_at = now + error.seconds
                return
            self._failures += 1
            self._next_at = now + min(AGAIN_SECONDS * 2.0**self._failures, LONGEST_SECONDS)
            if self._failures < PATIENCE:
                return
            raise PhaseError(
                Reason.TRAINER_ERROR,
                f"{self._url} does not take the report: {error}",
                "the job goes on all the same; an admin has to let pods reach the operator, or to set reports.enabled: false of the chart",
            ) from None
        self._sent, self._failures, self._put_off, self._next_at = report, 0, 0, now + AGAIN_SECONDS


def live_reports(
    environment: Mapping[str, str], layout: Layout, checkpoint: Callable[[], str], say: Callable[[str], None], clock: Callable[[], float]
) -> tuple[LiveReports, ...]:
    """Return what sends reports, nothing where nobody takes them."""
    url = environment.get(contract.REPORTS_VARIABLE)
    return (LiveReports(url, layout.reports_token, layout.run_folder, checkpoint, say, clock),) if url else ()


def notes(run_folder: Path) -> tuple[Note, ...]:
    """Return what the launcher had to tell while the script ran; words, whoever wrote them."""
    data = tree.read_small(run_folder, contract.NOTES_NAME, _NOTES_FILE_LIMIT)
    try:
        found = msgspec.json.decode(data, type=RunNotes).notes if data is not None else ()
        return tuple(msgspec.structs.replace(note, message=clip(note.message)) for note in found)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return ()


def _send(url: str, token: str, body: bytes) -> None:
    """Send a report, to that address and no other: neither a proxy nor a redirect gets the token.

    Raises:
        OSError: it was not heard, or not taken.
    """
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.netloc, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("POST", place.path, body, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != http.client.NO_CONTENT:
            said, wait = f"{answer.status} {answer.read(_ANSWER_LIMIT).decode('utf-8', 'replace')}", answer.getheader("Retry-After", "")
            if answer.status == http.client.SERVICE_UNAVAILABLE and wait.isascii() and wait.isdigit():
                raise _NotNowError(min(float(wait), AGAIN_SECONDS), said)
            raise OSError(said)
    except http.client.HTTPException as error:
        raise OSError(f"no answer that can be read: {error!r}") from None
    finally:
        connection.close()
