"""What the publisher tells the operator while the script runs."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tftrainer.layout import Layout
from tftrainer.messages.contract import LiveReport, Note, NoteReason, RunNotes
from tftrainer.publish.live_report import AGAIN_SECONDS, LONGEST_SECONDS, STANDBY_TRIES, LiveReports, live_reports

NOTE = Note(reason=NoteReason.PROCESS_OUT_OF_MEMORY, message="a process was killed")


class Operator(http.server.HTTPServer):
    """Takes reports, and answers with `status`; `elsewhere` is where it would have them sent instead, `retry_after` when."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.status = 204
        self.elsewhere = ""
        self.retry_after = ""
        self.heard: list[tuple[str, str, bytes]] = []
        self.asked = threading.Semaphore(0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/reports"


class Answer(http.server.BaseHTTPRequestHandler):
    server: Operator

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append((self.path, self.headers["Authorization"], body))
        self.send_response(self.server.status)
        if self.server.elsewhere:
            self.send_header("Location", self.server.elsewhere)
        if self.server.retry_after:
            self.send_header("Retry-After", self.server.retry_after)
        self.end_headers()
        self.server.asked.release()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def operator() -> Iterator[Operator]:
    with Operator() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Pod:
    """A publisher's part of a pod, with a clock that is turned by hand."""

    def __init__(self, folder: Path, url: str) -> None:
        self.run_folder = folder / "run"
        self.run_folder.mkdir()
        (folder / "token").write_text("t0ken\n")
        self.checkpoint = ""
        self.said: list[str] = []
        self.clock = Clock()
        self.reports = LiveReports(
            url, folder / "token", self.run_folder, lambda: self.checkpoint, self.said.append, self.clock, pause=0.01
        )

    def note(self, *notes: Note) -> None:
        (self.run_folder / "notes.json").write_bytes(msgspec.json.encode(RunNotes(notes=notes)))


@pytest.fixture
def pod(operator: Operator, tmp_path: Path) -> Iterator[Pod]:
    pod = Pod(tmp_path, operator.url)
    pod.reports.start()
    yield pod
    pod.reports.end()
    pod.reports.stop()


def test_what_is_new_is_sent_once_with_the_pods_token(operator: Operator, pod: Pod) -> None:
    pod.note(NOTE)
    assert operator.asked.acquire(timeout=10)
    path, authorization, body = operator.heard[0]
    assert (path, authorization) == ("/v1/reports", "Bearer t0ken")
    assert msgspec.json.decode(body, type=LiveReport) == LiveReport(notes=(NOTE,))
    pod.clock.now += AGAIN_SECONDS
    pod.checkpoint = "step 3"
    assert operator.asked.acquire(timeout=10)
    assert msgspec.json.decode(operator.heard[1][2], type=LiveReport) == LiveReport(notes=(NOTE,), checkpoint="step 3")
    pod.clock.now += AGAIN_SECONDS
    assert not operator.asked.acquire(timeout=0.3), "nothing has changed"


def test_two_reports_are_never_nearer_than_ten_seconds(operator: Operator, pod: Pod) -> None:
    pod.checkpoint = "step 1"
    assert operator.asked.acquire(timeout=10)
    pod.checkpoint = "step 2"
    assert not operator.asked.acquire(timeout=0.3)
    pod.clock.now += AGAIN_SECONDS
    assert operator.asked.acquire(timeout=10)


def test_where_nobody_takes_it_it_is_sent_less_often_and_the_third_failure_is_said_once(operator: Operator, pod: Pod) -> None:
    operator.status = 503
    pod.checkpoint = "step 1"
    assert operator.asked.acquire(timeout=10)
    pod.clock.now += AGAIN_SECONDS
    assert not operator.asked.acquire(timeout=0.3), "after a failure the pause doubles"
    pod.clock.now += LONGEST_SECONDS
    assert operator.asked.acquire(timeout=10)
    assert pod.said == [], "an operator that is upgraded is away for a while"
    for _ in range(4):
        pod.clock.now += LONGEST_SECONDS
        assert operator.asked.acquire(timeout=10)
    operator.status = 204
    pod.clock.now += LONGEST_SECONDS
    assert operator.asked.acquire(timeout=10)
    pod.reports.end()
    [said] = pod.said
    assert "the job goes on all the same" in said
    assert "503" in said


def test_told_that_a_process_stands_by_it_asks_again_at_once_as_the_next_request_may_reach_the_one_that_works(
    operator: Operator, pod: Pod
) -> None:
    operator.status, operator.retry_after = 503, "1"
    pod.checkpoint = "step 1"
    for _ in range(STANDBY_TRIES):
        assert operator.asked.acquire(timeout=10)
        assert not operator.asked.acquire(timeout=0.1), "not before the second is over"
        pod.clock.now += 1
    assert pod.said == []
    assert operator.asked.acquire(timeout=10)
    pod.clock.now += AGAIN_SECONDS
    assert not operator.asked.acquire(timeout=0.3), "so often in a row it is a failure like others"
    operator.status = 204
    pod.clock.now += AGAIN_SECONDS
    assert operator.asked.acquire(timeout=10)


@pytest.mark.parametrize("wait", ["-1", "soon", "9" * 400, "²"])
def test_a_wait_that_is_none_or_too_long_is_bounded(operator: Operator, pod: Pod, wait: str) -> None:
    operator.status, operator.retry_after = 503, wait.encode("utf-8").decode("latin-1")
    pod.checkpoint = "step 1"
    assert operator.asked.acquire(timeout=10)
    pod.clock.now += 2 * AGAIN_SECONDS
    assert operator.asked.acquire(timeout=10)


def test_the_token_does_not_follow_a_redirect(operator: Operator, pod: Pod, tmp_path: Path) -> None:
    with Operator() as other:
        other.timeout = 0.3
        operator.status, operator.elsewhere = 307, other.url
        pod.checkpoint = "step 1"
        assert operator.asked.acquire(timeout=10)
        other.handle_request()
        assert other.heard == []


@pytest.mark.parametrize("what", [b"", b"[]", b"\xff", b"[" * 50_000, b'{"notes":[{"reason":"Failed","message":"z"}]}', b"x" * 100_000])
def test_what_the_script_puts_in_the_notes_place_is_no_note_and_hurts_nothing(operator: Operator, pod: Pod, what: bytes) -> None:
    (pod.run_folder / "notes.json").write_bytes(what)
    pod.checkpoint = "step 1"
    assert operator.asked.acquire(timeout=10)
    assert msgspec.json.decode(operator.heard[0][2], type=LiveReport) == LiveReport(checkpoint="step 1")
    assert pod.said == []


def test_a_note_of_control_characters_fits_into_a_report(operator: Operator, pod: Pod) -> None:
    pod.note(*(Note(reason=NoteReason.LAST_LINE_PASSED, message=f"{number}" + "\x01" * 399) for number in range(8)))
    assert operator.asked.acquire(timeout=10)
    assert len(operator.heard[0][2]) < 16 * 1024
    assert len(msgspec.json.decode(operator.heard[0][2], type=LiveReport).notes) == 8


def test_where_nobody_takes_reports_nothing_is_started(tmp_path: Path) -> None:
    assert live_reports({}, Layout(tmp_path), str, print, Clock()) == ()
