"""The phases of `fetch` in their order, and its last word."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from tftrainer import contract, handover, manifest, placeholders
from tftrainer.contract import Failure, FetchReport, Pinned, Plan, Reason
from tftrainer.fetch.code import check_script_name, check_syntax, place_inline_script, prepare_archive
from tftrainer.fetch.download import Progress, all_findings, fetch_all, make_folder
from tftrainer.fetch.environment import aliases, make_folders
from tftrainer.fetch.sources import Buckets, Found, LookUp, Wanted, check_targets, look_ups, size
from tftrainer.handover import Baseline, FetchedFile, Resolved
from tftrainer.layout import Layout
from tftrainer.manifest import Manifest
from tftrainer.phase_error import PhaseError, clip, sentence, unexpected
from tftrainer.storage.credentials import Credentials
from tftrainer.storage.store import Store

TERMINATED: Final = 143
FAILED: Final = 1
ARGUMENT_LIMIT: Final = 1200
STAGING: Final = ".fetch"
ATTEMPT_NAME: Final = "attempt.json"


def main(plan: Plan, layout: Layout | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Fetch all that the job names; 0 when the script can start, 1 when the job cannot run, 143 after SIGTERM."""
    layout = layout or Layout.from_environment()
    # PID 1 has no default action for signals: without a handler the pod's deletion would wait for the whole grace period.
    signal.signal(signal.SIGTERM, lambda *_: _terminated(layout))
    signal.signal(signal.SIGINT, lambda *_: _terminated(layout))
    started = time.monotonic()
    try:
        report = _Fetch(plan, layout, environment).run()
    except OSError as error:
        failed = _disk(error)
        say(sentence(failed.failure))
        report = FetchReport(failure=failed.failure)
    except Exception as error:
        failed = unexpected(error)
        say(sentence(failed.failure))
        report = FetchReport(failure=failed.failure)
    report = msgspec.structs.replace(report, seconds=round(time.monotonic() - started, 3))
    if report.failure is None:
        say(f"ready: {report.objects} objects, {size(report.bytes)}, in {report.seconds:.2f} s")
    leave_word(layout, contract.encode_report(report))
    return FAILED if report.failure else 0


def say(text: str) -> None:
    """Print one line to the container's log."""
    print(f"fetch: {text}", flush=True)


def leave_word(layout: Layout, message: bytes) -> None:
    """Write the container's last word where the kubelet reads it; outside a pod there may be no such place."""
    with contextlib.suppress(OSError):
        layout.termination_log.write_bytes(message)


def _terminated(layout: Layout) -> NoReturn:
    failure = Failure(reason=Reason.TERMINATED, message="the pod was ended while its inputs were fetched")
    leave_word(layout, contract.encode_report(FetchReport(failure=failure)))
    os._exit(TERMINATED)


def _disk(error: OSError) -> PhaseError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return PhaseError(
            Reason.WORKSPACE_FULL, "the workspace is full before the script starts", "raise spec.resources.workspace, or fetch less"
        )
    return PhaseError(
        Reason.TRAINER_ERROR,
        f"{error.filename or 'the workspace'} cannot be used: {error.strerror}",
        "the pod or its image was changed by hand",
    )


class _Fetch:
    """One run of the container; its methods are the phases."""

    def __init__(self, plan: Plan, layout: Layout, environment: Mapping[str, str]) -> None:
        self._plan = plan
        self._layout = layout
        self._environment = environment

    def run(self) -> FetchReport:
        """Go through the phases; a failure is part of the report."""
        arguments: tuple[str, ...] = ()
        try:
            arguments = self._arguments()
            report = self._prepare(arguments)
        except FindingsError as findings:
            for failed in findings.all:
                say(sentence(failed.failure))
            report = FetchReport(failure=findings.all[0].failure)
        except PhaseError as failed:
            say(sentence(failed.failure))
            report = FetchReport(failure=failed.failure)
        cut = any(len(each) > ARGUMENT_LIMIT for each in arguments)
        return msgspec.structs.replace(report, resolved_args=tuple(clip(each, ARGUMENT_LIMIT) for each in arguments), resolved_args_cut=cut)

    def _prepare(self, arguments: tuple[str, ...]) -> FetchReport:
        self._make_folders()
        buckets = self._buckets()
        earlier = self._earlier(buckets.storage)
        if earlier is not None:
            return self._end_as(earlier)
        wanted, folders, findings = self._look_up(buckets)
        if findings:
            raise FindingsError(findings)
        self._check_space(wanted)
        for folder in folders:
            make_folder(folder)
        total = sum(each.info.size for each in wanted)
        if wanted:
            say(f"fetching {len(wanted)} objects, {size(total)}")
        pins = fetch_all(wanted, self._layout.workspace / STAGING, Progress(len(wanted), total, say))
        by_role = [(each.role, pin) for each, pin in zip(wanted, pins, strict=True)]
        script = next((pin for role, pin in by_role if role == "script"), None) or place_inline_script(self._plan, self._layout)
        archive = next((pin for role, pin in by_role if role == "archive"), None)
        path = self._check_code(next((each.target for each in wanted if each.role == "archive"), None))
        self._hand_over(arguments, path, script, archive, by_role, wanted)
        return FetchReport(script=script, archive=archive, objects=len(wanted), bytes=total)

    def _make_folders(self) -> None:
        at = self._layout
        for folder in (at.code, at.dependencies, at.bucket, at.datasets, at.inputs, at.logs, at.run_folder, at.state):
            folder.mkdir(parents=True, exist_ok=True)
        at.lock.touch()

    def _arguments(self) -> tuple[str, ...]:
        check_script_name(self._plan)
        try:
            return tuple(placeholders.resolve(each, self._plan, str(self._layout.workspace)) for each in self._plan.args)
        except placeholders.PlaceholderError as error:
            raise PhaseError(Reason.INVALID_SPEC, f"spec.args: {error}", "correct the argument") from None

    def _buckets(self) -> Buckets:
        storage = Credentials.read(self._environment, contract.STORAGE_PREFIX, "storage Secret (spec.storage)")
        if storage is None:
            raise PhaseError(
                Reason.STORAGE_MISCONFIGURED,
                "the storage Secret is empty, expected the keys endpoint, bucket, accessKey and secretKey",
                "fill the Secret that spec.storage.secretName names",
            )
        datasets = Credentials.read(self._environment, contract.DATASETS_PREFIX, "datasets Secret (spec.datasets)")
        return Buckets(Store(storage), Store(datasets) if datasets else None)

    def _earlier(self, store: Store) -> Manifest | None:
        """Return what an earlier pod of this attempt has published; the first request, so a wrong Secret shows here."""
        key = store.credentials.key(manifest.folder(self._plan) + contract.MANIFEST_NAME)
        data = store.read(key, manifest.LIMIT)
        if data is None:
            return None
        found = manifest.decode(data)
        if found is None or not found.is_of(self._plan):
            raise PhaseError(
                Reason.PUBLISH_FAILED,
                f"{store.uri(key)} is in the way: it is not a manifest of this run",
                "remove that object; nothing but this product may write below .tftraining/",
            )
        return found

    def _end_as(self, earlier: Manifest) -> FetchReport:
        if earlier.outcome != manifest.SUCCEEDED:
            reason = earlier.failure.reason if earlier.failure else Reason.UNKNOWN
            why = earlier.failure.message if earlier.failure else "it gives no reason"
            raise PhaseError(
                reason, f"an earlier pod of this attempt has already failed: {why}", "delete the job and apply it again to run it again"
            )
        say("an earlier pod of this attempt has published its success; the script does not run again")
        at = self._layout
        handover.write(Resolved(script="", cwd=str(at.code), already_done=True), at.resolved)
        handover.write(Baseline(already_done=True), at.baseline)
        return FetchReport(script=earlier.script, archive=earlier.archive)

    def _look_up(self, buckets: Buckets) -> tuple[list[Wanted], list[Path], list[PhaseError]]:
        found: list[Found] = []
        lock = threading.Lock()

        def task(look_up: LookUp) -> None:
            result = look_up()
            with lock:
                found.append(result)

        tasks: list[Callable[[], None]] = [functools.partial(task, each) for each in look_ups(self._plan, self._layout, buckets)]
        tasks.append(functools.partial(self._announce, buckets.storage))
        findings = all_findings(tasks)
        wanted: list[Wanted] = []
        if not findings:
            try:
                wanted = check_targets(sorted((each for result in found for each in result.wanted), key=lambda each: str(each.target)))
            except PhaseError as failed:
                findings.append(failed)
        return wanted, [folder for result in found for folder in result.folders], findings

    def _announce(self, store: Store) -> None:
        """Leave a note that the attempt has begun: the proof, before a GPU is used for hours, that results can be written."""
        note = {"job": f"{self._plan.namespace}/{self._plan.job}", "uid": self._plan.uid, "attempt": self._plan.attempt}
        store.write(store.credentials.key(manifest.folder(self._plan) + ATTEMPT_NAME), msgspec.json.encode(note))

    def _check_space(self, wanted: list[Wanted]) -> None:
        total = sum(each.info.size for each in wanted)
        if total > self._plan.workspace_bytes:
            largest = max(wanted, key=lambda each: each.info.size)
            raise PhaseError(
                Reason.INPUT_TOO_LARGE,
                f"the job's {len(wanted)} objects take {size(total)}, the workspace {size(self._plan.workspace_bytes)}; "
                f"the largest is {largest.uri}",
                "raise spec.resources.workspace, or fetch less",
            )

    def _check_code(self, archive: Path | None) -> tuple[str, ...]:
        findings: list[PhaseError] = []
        path: tuple[str, ...] = ()
        try:
            check_syntax(self._layout.code / self._plan.script.name)
        except PhaseError as failed:
            findings.append(failed)
        if archive is not None:
            try:
                path = prepare_archive(self._plan, archive, self._layout)
            except PhaseError as failed:
                findings.append(failed)
        if findings:
            raise FindingsError(findings)
        return path

    def _hand_over(
        self,
        arguments: tuple[str, ...],
        path: tuple[str, ...],
        script: Pinned,
        archive: Pinned | None,
        pins: list[tuple[str, Pinned]],
        wanted: list[Wanted],
    ) -> None:
        at = self._layout
        make_folders(at)
        baseline = Baseline(
            files=tuple(_fetched(each.target, at.bucket) for each in wanted if each.target.is_relative_to(at.bucket)),
            script=script,
            archive=archive,
            code=tuple(pin for role, pin in pins if role == "files"),
            inputs=tuple(pin for role, pin in pins if role == "data"),
            resolved_args=arguments,
        )
        handover.write(baseline, at.baseline)
        resolved = Resolved(
            script=str(at.code / self._plan.script.name), cwd=str(at.code), argv=arguments, path=path, environment=aliases(self._plan, at)
        )
        handover.write(resolved, at.resolved)


class FindingsError(Exception):
    """Several failures at once, the first of them the one that is reported."""

    def __init__(self, found: list[PhaseError]) -> None:
        super().__init__(str(found[0]))
        self.all = found


def _fetched(path: Path, root: Path) -> FetchedFile:
    status = path.stat()
    return FetchedFile(path=str(path.relative_to(root)), size=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)
