"""The phases of the publisher in their order, and its last word."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Final

import msgspec

from tftrainer import contract, handover, manifest, model_gate
from tftrainer.contract import ContractError, Failure, Plan, PublishReport, Reason, RunReport, WantedModel
from tftrainer.handover import Baseline
from tftrainer.layout import Layout
from tftrainer.manifest import Manifest, PublishedObject, Skipped
from tftrainer.phase_error import PhaseError, sentence, unexpected
from tftrainer.progress import counted, size
from tftrainer.publish import events, live, run_lock, tree
from tftrainer.publish.events import LiveEvents
from tftrainer.publish.live import LiveLogs
from tftrainer.publish.snapshots import QUIET_SECONDS, Snapshots
from tftrainer.publish.tree import LocalFile
from tftrainer.publish.watch import Stop, wait_for_end

if TYPE_CHECKING:
    from tftrainer.publish.upload import Uploaded
    from tftrainer.storage.interface import Store

FAILED: Final = 1
RESULT_NAME: Final = "result.json"
STARTED_NAME: Final = "started"
SKIPPED_TOLD: Final = 20
"""Skipped things that the log names."""
MODEL_REASONS: Final = frozenset({Reason.MODEL_MISSING, Reason.MODEL_UNLOADABLE})
"""Failures that are the publisher's to tell: the script itself succeeded."""
PUBLISHED_LOGS: Final = ("stdout.log", "stderr.log")


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds between two looks at what grows while the script runs."""

    logs: float = live.PAUSE_SECONDS
    events: float = events.PAUSE_SECONDS


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
    try:
        report = _Publisher(plan, layout, environment, stop, pauses, importing).run()
    except PhaseError as failed:
        report = PublishReport(failure=failed.failure)
    except ContractError as error:
        report = PublishReport(failure=Failure(reason=Reason.TRAINER_ERROR, message=str(error)[:1000]))
    except OSError as error:
        report = PublishReport(failure=_disk(error).failure)
    except Exception as error:
        report = PublishReport(failure=unexpected(error).failure)
    if report.failure is not None:
        say(sentence(report.failure))
    with contextlib.suppress(OSError):
        layout.termination_log.write_bytes(contract.encode_report(report))
    return FAILED if report.failure else 0


def say(text: str) -> None:
    """Print one line to the container's log."""
    print(f"publish: {text}", flush=True)


def _import_storage() -> None:
    import tftrainer.publish.upload
    import tftrainer.storage.opening  # noqa: F401


def _disk(error: OSError) -> PhaseError:
    what = error.filename or "the workspace"
    if error.errno == errno.ENOENT:
        return PhaseError(
            Reason.TRAINER_ERROR, f"{what} is missing: the fetch container makes it", "the pod was changed by hand; run the job again"
        )
    return PhaseError(Reason.PUBLISH_FAILED, f"{what} cannot be used: {error.strerror}", "")


def _quiet_before(result: RunReport) -> float:
    """Return before when a file must have been left alone to be whole: a script that was killed may have been writing it."""
    return (result.finished_at or time.time()) - QUIET_SECONDS if result.killed else math.inf


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
        untouched = [LocalFile(each.path, each.size, each.mtime_ns, each.inode) for each in baseline.files]
        wanted = self._plan.checkpoints
        if wanted is not None and not baseline.already_done:
            self._snapshots = Snapshots(self._plan, wanted, at.bucket, self._store, untouched, self._uploaded, say)
        while_it_runs = (
            LiveLogs(at.logs, PUBLISHED_LOGS, self._logs_place, say, self._pauses.logs),
            LiveEvents(at.bucket, self._store, self._uploaded, say, self._pauses.events),
            *((self._snapshots,) if self._snapshots is not None else ()),
        )
        for each in while_it_runs:
            each.start()
        started = wait_for_end(at.lock, at.run_folder / STARTED_NAME, self._plan.grace_seconds, self._stop)
        for each in while_it_runs:
            each.stop()
        begun = time.monotonic()
        store = self._store()
        earlier = self._earlier(store)
        if baseline.already_done:
            return self._confirm(store, earlier)
        report = self._publish(store, baseline, self._result(started=started), earlier)
        what = f"{counted(report.objects, 'object')}, {size(report.bytes)}"
        skipped = f", {report.skipped} skipped" if report.skipped else ""
        say(f"published {what}{skipped}, in {time.monotonic() - begun:.2f} s")
        return report

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
                Reason.STORAGE_MISCONFIGURED, "the storage Secret is empty", "fill the Secret that spec.storage.secretName names"
            )
        return found

    def _key(self, store: Store, name: str) -> str:
        return store.credentials.key(self._folder + name)

    def _earlier(self, store: Store) -> bytes | None:
        return store.read(self._key(store, contract.MANIFEST_NAME), manifest.LIMIT)

    def _confirm(self, store: Store, earlier: bytes | None) -> PublishReport:
        found = manifest.decode(earlier) if earlier is not None else None
        if earlier is None or found is None or not found.is_of(self._plan):
            raise self._fenced(store)
        say("an earlier pod of this attempt has published; its manifest is confirmed")
        return self._report(store, found, earlier)

    def _result(self, *, started: bool) -> RunReport:
        """Return how the run ended, by what the launcher left; it is believed about the script alone."""
        data = tree.read_small(self._layout.run_folder, RESULT_NAME, contract.MESSAGE_LIMIT)
        if data is not None:
            with contextlib.suppress(ContractError):
                return contract.decode_report(data.decode("utf-8", "replace"), RunReport)
        if not started:
            failure = Failure(reason=Reason.TERMINATED, message="the pod was ended before the script started")
            return RunReport(exit_code=143, failure=failure)
        failure = Failure(
            reason=Reason.SCRIPT_KILLED,
            message="the script and its launcher were killed, and left no word of why",
            hint="most often the container ran out of memory: see spec.resources.memory",
        )
        return RunReport(exit_code=137, failure=failure, killed=True)

    def _publish(self, store: Store, baseline: Baseline, result: RunReport, earlier: bytes | None) -> PublishReport:
        from tftrainer.publish import upload

        files, skipped = self._changed(baseline, store.credentials.prefix)
        logs = self._logs()
        logs_prefix = self._key(store, contract.LOGS_FOLDER)
        at = self._layout
        if earlier is not None:
            # Somebody has published this attempt: nothing of theirs is overwritten, it is only compared.
            objects = upload.digest_all(at.bucket, store.credentials.prefix, files)
            logged = upload.digest_all(at.logs, logs_prefix, logs)
            return self._compare(store, self._manifest(baseline, result, files, objects, logged, skipped, store), earlier)
        say(f"uploading {counted(len(files), 'changed file')} and {counted(len(logs), 'log')}, {size(sum(each.size for each in files))}")
        outage = upload.Outage()
        logged, failures = upload.upload_all(store, at.logs, logs_prefix, logs, say, outage=outage)
        if not outage.given_up:
            self._keep(lambda snapshots: snapshots.protect(each for each in files if each not in self._uploaded))
        objects, more = upload.upload_all(store, at.bucket, store.credentials.prefix, files, say, self._uploaded, outage)
        failures += more
        if failures:
            total = len(files) + len(logs)
            raise self._incomplete(failures, total - len(objects) - len(logged), total)
        self._keep(lambda snapshots: snapshots.conclude(objects, _quiet_before(result)))
        written = msgspec.structs.replace(
            self._manifest(baseline, result, files, objects, logged, skipped, store), lock=self._lock(store, baseline)
        )
        data = manifest.encode(written)
        if not self._commit(store, baseline, data):
            return self._compare(store, written, self._earlier(store))
        if self._earlier(store) != data:
            raise PhaseError(
                Reason.PUBLISH_FAILED,
                f"{store.uri(self._key(store, contract.MANIFEST_NAME))} is not what was written",
                "the store loses or changes writes; have it repaired",
            )
        return self._report(store, written, data)

    def _commit(self, store: Store, baseline: Baseline, data: bytes) -> bool:
        """Write the manifest unless there is one; whether it was written."""
        key = self._key(store, contract.MANIFEST_NAME)
        if baseline.conditional_writes:
            return store.write_if_absent(key, data)
        say("the store has no conditional writes: if two pods publish this attempt at once, status.outputs says which manifest counts")
        if self._earlier(store) is not None:
            return False
        store.write(key, data)
        return True

    def _lock(self, store: Store, baseline: Baseline) -> PublishedObject | None:
        """Leave a record of what ran, for who wants to run it again."""
        spec = self._environment.get(contract.SPEC_VARIABLE)
        if not spec:
            return None
        installed = ((each.name, each.version) for each in metadata.distributions())
        data = run_lock.run_lock(msgspec.json.decode(spec), self._plan, baseline, installed)
        key = self._key(store, run_lock.NAME)
        written = store.write(key, data)
        return PublishedObject(key=key, size=written.size, sha256=written.sha256, etag=written.etag)

    def _keep(self, step: Callable[[Snapshots], None]) -> None:
        """Do a step for the checkpoints. Without it the outputs are published all the same."""
        if self._snapshots is None:
            return
        try:
            step(self._snapshots)
        except PhaseError as failed:
            say(f"the checkpoint in the bucket may not be whole: {sentence(failed.failure)}")

    def _changed(self, baseline: Baseline, prefix: str) -> tuple[list[LocalFile], list[Skipped]]:
        before = {(each.path, each.size, each.mtime_ns, each.inode) for each in baseline.files}
        files: list[LocalFile] = []
        skipped: list[Skipped] = []
        for found in tree.walk(self._layout.bucket, prefix):
            if isinstance(found, Skipped):
                # Some keys that a store has are none that are written.
                known = found.data and self._identity(found.path) in before
                skipped.append(msgspec.structs.replace(found, data=False) if known else found)
            elif (found.path, found.size, found.mtime_ns, found.inode) not in before:
                files.append(found)
        for each in skipped[:SKIPPED_TOLD]:
            say(f"skipped {each.path}: {each.reason}")
        if len(skipped) > SKIPPED_TOLD:
            say(f"skipped {len(skipped) - SKIPPED_TOLD} more; the manifest lists the first {tree.SKIPPED_LIMIT}")
        return files, skipped

    def _identity(self, path: str) -> tuple[str, int, int, int] | None:
        try:
            status = (self._layout.bucket / path).lstat()
        except OSError:
            return None
        return path, status.st_size, status.st_mtime_ns, status.st_ino

    def _logs(self) -> list[LocalFile]:
        found = tree.walk(self._layout.logs, self._folder) if self._layout.logs.is_dir() else ()
        return [each for each in found if isinstance(each, LocalFile) and each.path in PUBLISHED_LOGS]

    def _manifest(
        self,
        baseline: Baseline,
        result: RunReport,
        files: list[LocalFile],
        objects: list[PublishedObject],
        logs: list[PublishedObject],
        skipped: list[Skipped],
        store: Store,
    ) -> Manifest:
        from tftrainer.publish import upload

        plan = self._plan
        succeeded = result.exit_code == 0 and result.failure is None
        failure = result.failure
        if not succeeded and failure is None:
            failure = Failure(reason=Reason.SCRIPT_EXITED, message=f"the script ended with exit code {result.exit_code}")
        model = upload.newest_model(files, objects, store.credentials.prefix, store.uri)
        if succeeded and plan.model is not None:
            gate = self._gate(plan.model, objects, skipped, store)
            succeeded, failure, model = gate.failure is None, gate.failure, gate.model
        return Manifest(
            version=manifest.VERSION,
            namespace=plan.namespace,
            job=plan.job,
            uid=plan.uid,
            attempt=plan.attempt,
            outcome=manifest.SUCCEEDED if succeeded else manifest.FAILED,
            runtime=plan.runtime,
            image=plan.image,
            args=plan.args,
            resolved_args=baseline.resolved_args,
            failure=failure,
            exit_code=result.exit_code,
            script=baseline.script,
            archive=baseline.archive,
            code=baseline.code,
            inputs=baseline.inputs,
            objects=tuple(objects),
            logs=tuple(logs),
            model=model,
            # Where there are too many, links give way to what holds data.
            skipped=tuple(sorted(skipped, key=lambda each: not each.data)[: tree.SKIPPED_LIMIT]),
            started_at=result.started_at,
            finished_at=result.finished_at,
            published_at=time.time(),
            commit="manifest" if baseline.conditional_writes else "status",
        )

    def _gate(self, wanted: WantedModel, objects: list[PublishedObject], skipped: list[Skipped], store: Store) -> model_gate.Verdict:
        published = model_gate.Published(self._layout.bucket, store.credentials.prefix, objects, store.uri, skipped)
        return model_gate.examine(wanted, published, lambda folder: model_gate.load(folder, lambda: self._stop.asked), say)

    def _compare(self, store: Store, own: Manifest, earlier: bytes | None) -> PublishReport:
        """Take an existing manifest for our own if it tells of the same run: then an earlier write of it was only not answered."""
        found = manifest.decode(earlier) if earlier is not None else None
        if earlier is None or found is None or not found.is_of(self._plan) or not found.same_run(own):
            raise self._fenced(store)
        say("this run is already published; nothing was written again")
        return self._report(store, found, earlier)

    def _fenced(self, store: Store) -> PhaseError:
        return PhaseError(
            Reason.PUBLISH_FAILED,
            f"attempt {self._plan.attempt} is already published by another pod: {store.uri(self._key(store, contract.MANIFEST_NAME))}",
            "that manifest counts; this pod's outcome is not recorded",
        )

    def _incomplete(self, failures: list[Failure], missing: int, total: int) -> PhaseError:
        for each in failures:
            say(sentence(each))
        first = failures[0]
        return PhaseError(
            first.reason, f"{missing} of {counted(total, 'output')} could not be uploaded; the first: {first.message}", first.hint
        )

    def _report(self, store: Store, written: Manifest, data: bytes) -> PublishReport:
        return PublishReport(
            failure=written.failure if written.failure and written.failure.reason in MODEL_REASONS else None,
            succeeded=written.outcome == manifest.SUCCEEDED,
            manifest_uri=store.uri(self._key(store, contract.MANIFEST_NAME)),
            manifest_sha256=hashlib.sha256(data).hexdigest(),
            logs_uri=store.uri(self._key(store, contract.LOGS_FOLDER)) if written.logs else "",
            objects=len(written.objects),
            bytes=sum(each.size for each in written.objects),
            skipped=len(written.skipped),
            lost=sum(each.data for each in written.skipped),
            model=written.model,
            checkpoint=self._snapshots.words if self._snapshots is not None else "",
        )
