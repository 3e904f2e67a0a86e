"""The phases of the publisher in their order, and its last word."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Final

import msgspec

from tftrainer import withholding
from tftrainer.checkpoints import following, saved
from tftrainer.checkpoints.following import Following
from tftrainer.checkpoints.snapshots import Snapshots
from tftrainer.container import leave_word, reported
from tftrainer.layout import Layout
from tftrainer.messages import contract, handover, manifest, post_mortem
from tftrainer.messages.contract import Failure, Plan, PublishReport, Reason
from tftrainer.messages.handover import Baseline
from tftrainer.messages.manifest import Manifest, PublishedObject
from tftrainer.model import gate
from tftrainer.outputs import events
from tftrainer.outputs.events import LiveEvents
from tftrainer.outputs.succession import ensure_last
from tftrainer.outputs.tree import LocalFile
from tftrainer.phase_error import PhaseError, clip, sentence
from tftrainer.progress import counted, size
from tftrainer.publish import autopsy, live, run_lock
from tftrainer.publish.commit import Commit
from tftrainer.publish.ended import Ended, read_result
from tftrainer.publish.live import PUBLISHED_LOGS, LiveLogs
from tftrainer.publish.live_report import live_reports
from tftrainer.publish.watch import Stop, wait_for_end

if TYPE_CHECKING:
    from tftrainer.outputs.upload import Uploaded
    from tftrainer.publish.publication import Publication
    from tftrainer.storage.interface import Store

FAILED: Final = 1
HURRIED_SHARE: Final = 0.5
"""The part of the publisher's time after which, in a pod that is being ended, nothing is begun that can be left out."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds between two looks at what grows while the script runs."""

    logs: float = live.PAUSE_SECONDS
    events: float = events.PAUSE_SECONDS
    following: float = following.PAUSE_SECONDS


def main(plan: Plan, layout: Layout | None = None, environment: Mapping[str, str] = os.environ, pauses: Pauses = Pauses()) -> int:
    """Wait for the trainer's end and publish; 0 when the manifest is in the bucket, whatever it says, else 1."""
    layout = layout or Layout.from_environment()
    stop = Stop()
    signal.signal(signal.SIGTERM, lambda *_: stop.ask())
    signal.signal(signal.SIGINT, lambda *_: stop.ask())
    # The process holds them back from its start on.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
    # The client library takes its time to import: while the script runs, not after its end.
    importing = threading.Thread(target=_import_storage, daemon=True)
    importing.start()
    publisher = _Publisher(plan, layout, environment, stop, pauses, importing)
    report = reported(publisher.run, lambda failure: PublishReport(failure=failure), _disk, say)
    leave_word(layout, report)
    return FAILED if report.failure else 0


def say(text: str) -> None:
    """Print one line to the container's log."""
    print(f"publish: {text}", flush=True)


def installed() -> Iterator[tuple[str, str]]:
    """Give name and version of all that is installed here. What a broken installation has left of a package may have neither."""
    for each in metadata.distributions():
        if "Name" in each.metadata and "Version" in each.metadata:
            yield each.name, each.version


def _import_storage() -> None:
    import tftrainer.outputs.upload
    import tftrainer.storage.opening  # noqa: F401


def _disk(error: OSError) -> PhaseError:
    what = error.filename or "the workspace"
    if error.errno == errno.ENOENT:
        return PhaseError(
            Reason.TRAINER_ERROR, f"{what} is missing: the fetch container makes it", "the pod was changed by hand; run the job again"
        )
    return PhaseError(Reason.PUBLISH_FAILED, f"{what} cannot be used: {error.strerror}", "")


class _Publisher:
    def __init__(
        self, plan: Plan, layout: Layout, environment: Mapping[str, str], stop: Stop, pauses: Pauses, importing: threading.Thread
    ) -> None:
        self._importing = importing
        self._plan = plan
        self._layout = layout
        self._environment = environment
        self._stop = stop
        self._pauses = pauses
        self._folder = manifest.folder(plan)
        self._uploaded: Uploaded = {}
        self._snapshots: Snapshots | None = None

    def run(self) -> PublishReport:
        baseline = handover.read(Baseline, self._layout.baseline)
        at = self._layout
        wanted = self._plan.checkpoints
        if wanted is not None and self._plan.leads and not baseline.already_done:
            folder = saved.folder_key(wanted)
            untouched = self._fetched(lambda path: path.startswith(folder))
            self._snapshots = Snapshots(self._plan, wanted, at.bucket, self._store, untouched, self._uploaded, say)
        follower = Following(wanted, at.bucket, self._store, say, self._pauses.following) if wanted and self._plan.evaluates else None
        while_it_runs = (
            LiveLogs(at.logs, PUBLISHED_LOGS, self._logs_place, say, self._pauses.logs),
            *self._live_events(),
            *(each for each in (self._snapshots, follower) if each is not None),
            *live_reports(self._environment, at, lambda: self._snapshots.saved_words if self._snapshots else "", say, time.monotonic),
        )
        for each in while_it_runs:
            each.start()
        started = wait_for_end(at.lock, at.run_folder / contract.STARTED_NAME, self._plan.grace_seconds, self._stop)
        noticed_at = time.time()
        # Each is told before one is waited for, so that logs do not wait behind a checkpoint of gigabytes.
        for each in while_it_runs:
            each.end()
        for each in while_it_runs:
            each.stop()
        begun = time.monotonic()
        store = self._store()
        self._commit = Commit(store, self._plan, conditional_writes=baseline.conditional_writes, say=say)
        earlier = self._commit.earlier()
        ended = Ended(read_result(at.run_folder, started=started), noticed_at)
        followed = follower.followed if follower is not None else frozenset()
        if baseline.already_done:
            return self._told(self._commit.confirm(earlier))
        report = self._told(self._publish(store, baseline, ended, earlier, begun, followed))
        what = f"{counted(report.objects, 'object')}, {size(report.bytes)}"
        skipped = f", {report.skipped} skipped" if report.skipped else ""
        say(f"published {what}{skipped}, in {time.monotonic() - begun:.2f} s")
        return report

    def _fetched(self, is_wanted: Callable[[str], bool]) -> list[LocalFile]:
        """Return the files of the bucket's folder that `fetch` has put there, as they were then."""
        fetched = (each for each in handover.read_files(self._layout.baseline_files) if is_wanted(each.path))
        return [LocalFile(each.path, each.size, each.mtime_ns, each.inode, ctime_ns=each.ctime_ns) for each in fetched]

    def _live_events(self) -> Iterator[LiveEvents]:
        if self._plan.leads or self._plan.evaluates:
            untouched = self._fetched(events.is_event_file)
            ensure = partial(ensure_last, self._plan)
            yield LiveEvents(self._layout.bucket, self._store, self._uploaded, say, ensure, self._pauses.events, untouched)

    def _told(self, report: PublishReport) -> PublishReport:
        if report.note:
            say(report.note)
        if report.failure is not None:
            say(sentence(report.failure))
        return msgspec.structs.replace(report, checkpoint=self._snapshots.words if self._snapshots is not None else "")

    def _logs_place(self) -> tuple[Store, str]:
        store = self._store()
        return store, self._key(store, contract.LOGS_FOLDER)

    def _store(self) -> Store:
        # Threads that import parts of one package in different order can find one of them half made.
        self._importing.join()
        from tftrainer.storage.opening import open_store

        found = open_store(self._environment, contract.STORAGE_PREFIX, "storage Secret (spec.storage)")
        if found is None:
            raise PhaseError(
                Reason.STORAGE_MISCONFIGURED,
                "the storage Secret is empty",
                "fill it: the keys are endpoint, bucket, accessKey and secretKey",
            )
        return found

    def _key(self, store: Store, name: str) -> str:
        return store.credentials.key(self._folder + name)

    def _publish(
        self, store: Store, baseline: Baseline, ended: Ended, earlier: bytes | None, begun: float, followed: frozenset[str]
    ) -> PublishReport:
        from tftrainer.publish.publication import Publishing

        def hurried() -> bool:
            return self._stop.asked and time.monotonic() - begun > self._plan.publish_seconds * HURRIED_SHARE

        publishing = Publishing(
            self._plan,
            self._layout,
            store,
            baseline,
            ended,
            lambda folder: gate.load(folder, lambda: self._stop.asked),
            say,
            self._uploaded,
            self._snapshots,
            hurried,
            followed,
        )
        if earlier is not None:
            # Somebody has published this attempt: nothing of theirs is overwritten, it is only compared.
            return self._commit.compare(self._manifest(baseline, ended, publishing.digested()), earlier)
        ensure_last(self._plan, store)
        try:
            found = publishing.run()
        except PhaseError as error:
            # A store that is away was waited for long enough.
            if error.failure.reason is not Reason.STORAGE_UNAVAILABLE and not hurried():
                with contextlib.suppress(PhaseError):
                    self._post_mortem(store, baseline, ended, error.failure)
            raise
        # The manifest is what the outcome hangs on: where time is short, it goes first.
        left = self._post_mortem(store, baseline, ended, found.failure) if found.failure is not None and not hurried() else None
        written = msgspec.structs.replace(self._manifest(baseline, ended, found), lock=self._lock(store, baseline), post_mortem=left)
        return self._commit.write(written)

    def _post_mortem(self, store: Store, baseline: Baseline, ended: Ended, failure: Failure) -> PublishedObject | None:
        """Leave what there is to read of the failure. Without it the outcome is the same."""
        try:
            spec = msgspec.json.decode(self._environment.get(contract.SPEC_VARIABLE) or "{}")
            data = autopsy.written(
                self._plan,
                self._layout,
                baseline,
                ended.result,
                failure,
                store.uri(self._key(store, contract.LOGS_FOLDER)),
                {each["name"]: each.get("value", "") for each in spec.get("env") or ()},
                installed(),
                time.time(),
            )
            return self._record(store, post_mortem.NAME, data)
        except PhaseError as failed:
            if failed.failure.reason is Reason.STORAGE_UNAVAILABLE:
                # It was waited for long enough: the manifest would be waited for once more.
                raise
            why = sentence(failed.failure)
        except Exception as error:  # a fault of ours is not to become the outcome of the script
            why = f"{type(error).__name__}: {error}"
        say(f"{post_mortem.NAME} is not in the bucket: {why}")
        return None

    def _lock(self, store: Store, baseline: Baseline) -> PublishedObject | None:
        """Leave a record of what ran, for who wants to run it again."""
        spec = self._environment.get(contract.SPEC_VARIABLE)
        if not spec:
            return None
        job = msgspec.json.decode(spec)
        _, withheld = run_lock.without_credentials(job)
        if withheld:
            say(clip(f"{run_lock.NAME} and {contract.MANIFEST_NAME} are without {', '.join(withheld)}: {withholding.ADVICE}"))
        return self._record(store, run_lock.NAME, run_lock.run_lock(job, self._plan, baseline, installed()))

    def _record(self, store: Store, name: str, data: bytes) -> PublishedObject:
        key = self._key(store, name)
        written = store.write(key, data)
        return PublishedObject(key=key, size=written.size, sha256=written.sha256, etag=written.etag)

    def _manifest(self, baseline: Baseline, ended: Ended, found: Publication) -> Manifest:
        plan, result = self._plan, ended.result
        return Manifest(
            version=manifest.VERSION,
            namespace=plan.namespace,
            job=plan.job,
            uid=plan.uid,
            attempt=plan.attempt,
            role=plan.role,
            index=plan.index,
            outcome=manifest.SUCCEEDED if ended.succeeded and found.failure is None else manifest.FAILED,
            runtime=plan.runtime,
            image=plan.image,
            args=withholding.arguments_without(plan.args),
            resolved_args=withholding.arguments_without(baseline.resolved_args),
            failure=found.failure,
            exit_code=result.exit_code,
            script=baseline.script,
            archive=baseline.archive,
            code=baseline.code,
            inputs=baseline.inputs,
            more_inputs=baseline.more_inputs,
            objects=found.objects,
            logs=found.logs,
            kept=found.kept,
            note=found.note,
            model=found.model,
            skipped=found.skipped,
            started_at=result.started_at,
            finished_at=result.finished_at,
            published_at=time.time(),
            commit="manifest" if baseline.conditional_writes else "status",
        )
