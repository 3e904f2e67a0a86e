"""The phases of `fetch` in their order, and its last word."""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from tftrainer import contract, handover, manifest, placeholders, saved, tf_checkpoint
from tftrainer.contract import CodePins, Failure, FetchReport, Pinned, Plan, Reason
from tftrainer.fetch import restore
from tftrainer.fetch.buckets import Buckets
from tftrainer.fetch.code import check_script_name, check_unchanged, examine, pin, place_inline_script, prepare_archive
from tftrainer.fetch.download import CODE_ROLES, all_findings, fetch_all, make_folder
from tftrainer.fetch.environment import aliases, make_folders
from tftrainer.fetch.packages import Installer
from tftrainer.fetch.restore import Restored
from tftrainer.fetch.sources import LookUp, look_ups
from tftrainer.fetch.wanted import Found, Wanted, check_inline_script, check_targets, facts
from tftrainer.handover import Baseline, FetchedFile, Package, Resolved
from tftrainer.layout import Layout
from tftrainer.manifest import Manifest
from tftrainer.phase_error import TEXT_LIMIT, PhaseError, clip, sentence, unexpected
from tftrainer.progress import Progress, counted, size
from tftrainer.storage.interface import Store
from tftrainer.storage.opening import open_store

TERMINATED: Final = 143
FAILED: Final = 1
ARGUMENT_LIMIT: Final = 1200
TOLD_LIMIT: Final = 512
"""Characters up to which one message tells all that was found."""
STAGING: Final = ".fetch"
ATTEMPT_NAME: Final = "attempt.json"


def main(plan: Plan, layout: Layout | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Fetch all that the job names; 0 when the script can start, 1 when the job cannot run, 143 after SIGTERM."""
    layout = layout or Layout.from_environment()
    phases = _Fetch(plan, layout, environment)
    # PID 1 has no default action for signals: without a handler the pod's deletion would wait for the whole grace period.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _terminated(layout, phases.stop))
    started = time.monotonic()
    try:
        report = phases.run()
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
        say(f"ready: {counted(report.objects, 'object')}, {size(report.bytes)}, in {report.seconds:.2f} s")
    leave_word(layout, contract.encode_report(report))
    return FAILED if report.failure else 0


def say(text: str) -> None:
    """Print one line to the container's log."""
    print(f"fetch: {text}", flush=True)


def leave_word(layout: Layout, message: bytes) -> None:
    """Write the container's last word where the kubelet reads it; outside a pod there may be no such place."""
    with contextlib.suppress(OSError):
        layout.termination_log.write_bytes(message)


def _terminated(layout: Layout, stop: Callable[[], None]) -> NoReturn:
    stop()
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


@dataclass(frozen=True, slots=True)
class _Code:
    """The code of the job: its pins, what goes on `sys.path`, each object of `dependencies.files`, packages, and all that is wrong."""

    pins: CodePins = field(default_factory=CodePins)
    path: tuple[str, ...] = ()
    files: tuple[Pinned, ...] = ()
    packages: tuple[Package, ...] = ()
    findings: tuple[PhaseError, ...] = ()


class _Fetch:
    """One run of the container; its methods are the phases."""

    def __init__(self, plan: Plan, layout: Layout, environment: Mapping[str, str]) -> None:
        self._plan = plan
        self._layout = layout
        self._environment = environment
        self._conditional_writes = True
        self._until = math.inf if plan.fetch_seconds is None else time.monotonic() + plan.fetch_seconds
        self.stop: Callable[[], None] = lambda: None
        """Ends what was started; a signal's handler calls it."""

    def run(self) -> FetchReport:
        """Go through the phases; a failure is part of the report."""
        arguments: tuple[str, ...] = ()
        try:
            arguments = self._arguments()
            report = self._prepare(arguments)
        except FindingsError as findings:
            for failed in findings.all:
                say(sentence(failed.failure))
            report = FetchReport(failure=findings.failure)
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
        wanted, folders, findings, restored = self._look_up(buckets)
        total = sum(each.info.size for each in wanted)
        findings += self._space(wanted, total)
        # Code first: what is wrong with it shows before hours are spent on data, and in one report with all that is missing.
        code, data = ([each for each in wanted if (each.role in CODE_ROLES) is is_code] for is_code in (True, False))
        if wanted and not findings:
            say(f"fetching {counted(len(wanted), 'object')}, {size(total)}")
        found = self._code(code, arguments, storage=buckets.storage, fetched=total, complete=not findings)
        if findings or found.findings:
            raise FindingsError([*findings, *found.findings])
        for folder in folders:
            make_folder(folder)
        inputs = self._download(data)
        states = [each.target for each in data if each.field == saved.FIELD and each.target.name == tf_checkpoint.STATE_NAME]
        restore.make_relative(states)
        for path, text in restored.states:
            path.write_bytes(text)
        self._hand_over(arguments, found, inputs, [*code, *data])
        pins = found.pins
        storage = buckets.storage
        return FetchReport(
            script=pins.script,
            archive=pins.archive,
            files=pins.files,
            objects=len(wanted),
            bytes=total,
            logs_uri=clip(storage.uri(storage.credentials.key(manifest.folder(self._plan) + contract.LOGS_FOLDER)), 1200),
            restored=restored.words,
        )

    def _code(self, wanted: list[Wanted], arguments: tuple[str, ...], *, storage: Store, fetched: int, complete: bool) -> _Code:
        """Fetch and check the code; `fetched` are the bytes of all objects of the job.

        What is not `complete`, because some of it could not be found, is checked as far as it goes.
        """
        try:
            found = self._download(wanted)
            inline = None if self._plan.script.uri else place_inline_script(self._plan, self._layout)
        except PhaseError as failed:
            return _Code(findings=(failed,))
        pins = pin(self._plan, self._layout, wanted, found, inline)
        findings = check_unchanged(self._plan, pins)
        archive = next((each.target for each in wanted if each.role == "archive"), None)
        path: tuple[str, ...] = ()
        if archive is not None:
            try:
                path = prepare_archive(self._plan, archive, self._layout, fetched)
            except PhaseError as failed:
                findings.append(failed)
                complete = False
        packages: tuple[Package, ...] = ()
        places: tuple[str, ...] = ()
        if self._plan.requirements:
            target = self._layout.packages
            places = (str(target),)
            try:
                packages = self._installer(storage).install(target)
            except PhaseError as failed:
                findings.append(failed)
                complete = False
        if (self._layout.code / self._plan.script.name).is_file():
            findings += self._preflight(path if complete else None, places, arguments)
        files = tuple(pinned for each, pinned in zip(wanted, found, strict=True) if any(named.role == "files" for named in each.names))
        return _Code(pins, (*path, *places), files, packages, tuple(findings))

    def _installer(self, storage: Store) -> Installer:
        installer = Installer(
            self._plan, storage, self._layout.workspace / f"{STAGING}-packages", say, self._environment, until=self._until
        )
        self.stop = installer.stop
        return installer

    def _preflight(self, path: tuple[str, ...] | None, packages: tuple[str, ...], arguments: tuple[str, ...]) -> list[PhaseError]:
        found = examine(self._plan, self._layout, path, packages, arguments, self._environment)
        for text in (*found.facts, *(f"warning: {warning}" for warning in found.warnings)):
            say(clip(f"pre-flight: {text}"))
        return [PhaseError(each.reason, each.message, each.hint, file=each.file, line=each.line) for each in found.errors]

    def _download(self, wanted: list[Wanted]) -> list[Pinned]:
        total = sum(each.info.size for each in wanted)
        return fetch_all(wanted, self._layout.workspace / STAGING, Progress(len(wanted), total, say)) if wanted else []

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
        storage = open_store(self._environment, contract.STORAGE_PREFIX, "storage Secret (spec.storage)", self._until)
        if storage is None:
            raise PhaseError(
                Reason.STORAGE_MISCONFIGURED,
                "the storage Secret is empty, expected the keys endpoint, bucket, accessKey and secretKey",
                "fill the Secret that spec.storage.secretName names",
            )
        datasets = open_store(self._environment, contract.DATASETS_PREFIX, "datasets Secret (spec.datasets)", self._until)
        return Buckets(storage, datasets)

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

    def _look_up(self, buckets: Buckets) -> tuple[list[Wanted], list[Path], list[PhaseError], Restored]:
        restored = Restored()

        def look_for_checkpoint() -> Found:
            nonlocal restored
            restored = restore.look_up(self._plan, self._layout, buckets.storage)
            return restored.found

        wanted_look_ups = [*look_ups(self._plan, self._layout, buckets), look_for_checkpoint]
        # In the order of the spec, whichever answer comes first.
        found = [Found()] * len(wanted_look_ups)

        def task(index: int, look_up: LookUp) -> None:
            found[index] = look_up()

        tasks: list[Callable[[], None]] = [functools.partial(task, index, each) for index, each in enumerate(wanted_look_ups)]
        tasks.append(functools.partial(self._announce, buckets.storage))
        findings = all_findings(tasks)
        # Of the names of an object, and of conflicts, the first is told, whichever answer came first.
        every = sorted((each for result in found for each in result.wanted), key=lambda each: (str(each.target), each.field))
        wanted: list[Wanted] = []
        try:
            wanted = check_targets(every)
            check_inline_script(self._plan, self._layout, wanted)
        except PhaseError as failed:
            findings.append(failed)
            wanted = []
        if not findings:
            say(f"pre-flight: {buckets.storage.uri('')} can be written")
        for text in (*facts(wanted), *(fact for result in found for fact in result.facts)):
            say(clip(f"pre-flight: {text}"))
        return wanted, [folder for result in found for folder in result.folders], findings, restored

    def _announce(self, store: Store) -> None:
        """Leave a note that the attempt has begun: the proof, before a GPU is used for hours, that results can be written."""
        note = {"job": f"{self._plan.namespace}/{self._plan.job}", "uid": self._plan.uid, "attempt": self._plan.attempt}
        key, data = store.credentials.key(manifest.folder(self._plan) + ATTEMPT_NAME), msgspec.json.encode(note)
        store.write(key, data)
        self._conditional_writes = store.keeps_conditions(key, data)

    def _space(self, wanted: list[Wanted], total: int) -> list[PhaseError]:
        what = f"what is to be fetched takes {size(total)} ({counted(len(wanted), 'object')})"
        if total > self._plan.workspace_bytes:
            largest = max(wanted, key=lambda each: each.info.size)
            return [
                PhaseError(
                    Reason.INPUT_TOO_LARGE,
                    f"{what}, and the workspace holds {size(self._plan.workspace_bytes)}; the largest is {largest.uri}",
                    "raise spec.resources.workspace, or fetch less",
                )
            ]
        free = shutil.disk_usage(self._layout.workspace).free
        if total > free:
            return [
                PhaseError(
                    Reason.WORKSPACE_FULL,
                    f"{what}, but the node's disk has only {size(free)} left",
                    "fetch less, or ask an admin for a node with more disk",
                )
            ]
        return []

    def _hand_over(
        self,
        arguments: tuple[str, ...],
        code: _Code,
        inputs: list[Pinned],
        wanted: list[Wanted],
    ) -> None:
        at = self._layout
        variables = aliases(self._plan, at)
        on_path = (Path(each) for each in code.path if Path(each) != at.packages)
        make_folders(variables, at, (at.code / self._plan.script.name, at.code, *on_path))
        baseline = Baseline(
            files=tuple(_fetched(each.target, at.bucket) for each in wanted if _lies_at_its_key(each, at.bucket)),
            script=code.pins.script,
            archive=code.pins.archive,
            code=code.files,
            files_of_code=code.pins.files,
            inline="" if self._plan.script.uri else (at.code / self._plan.script.name).read_text("utf-8", "replace"),
            inputs=tuple(inputs),
            packages=code.packages,
            resolved_args=arguments,
            conditional_writes=self._conditional_writes,
        )
        handover.write(baseline, at.baseline)
        resolved = Resolved(
            script=str(at.code / self._plan.script.name),
            cwd=str(at.code),
            argv=arguments,
            path=code.path,
            environment=variables,
        )
        handover.write(resolved, at.resolved)


class FindingsError(Exception):
    """Several failures at once, the first of them the one that is reported."""

    def __init__(self, found: list[PhaseError]) -> None:
        super().__init__(str(found[0]))
        self.all = found

    @property
    def failure(self) -> Failure:
        """The first failure; its message has the others too if they are short, else it says how many more the log has."""
        first = self.all[0].failure
        if len(self.all) == 1:
            return first
        together = f"{first.message}; also: {'; '.join(each.failure.message for each in self.all[1:])}"
        if len(together) <= TOLD_LIMIT:
            return msgspec.structs.replace(first, message=together)
        more = f" (and {len(self.all) - 1} more, see the log of container {contract.FETCH})"
        return msgspec.structs.replace(first, message=clip(first.message, TEXT_LIMIT - len(more)) + more)


def _lies_at_its_key(each: Wanted, root: Path) -> bool:
    """Whether the file, left as it is, need not be uploaded. A checkpoint's may be an older one, which was put aside in the bucket."""
    return each.target.is_relative_to(root) and not saved.is_reserved(each.info.key.removeprefix(each.store.credentials.prefix))


def _fetched(path: Path, root: Path) -> FetchedFile:
    status = path.stat()
    return FetchedFile(path=str(path.relative_to(root)), size=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)
