"""The phases of `fetch` in their order, and its last word."""

from __future__ import annotations

import errno
import functools
import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from tftrainer import placeholders
from tftrainer.checkpoints import saved
from tftrainer.container import leave_word, reported
from tftrainer.fetch import addresses, checked, restore
from tftrainer.fetch.buckets import Buckets
from tftrainer.fetch.code import Code, check_code, check_script_name, examine
from tftrainer.fetch.download import all_findings, fetch_all, fetch_code, make_folder
from tftrainer.fetch.entry import Entry, with_project
from tftrainer.fetch.environment import aliases, make_folders
from tftrainer.fetch.look_ups import LookUp, left_out, look_ups
from tftrainer.fetch.packages import Installer
from tftrainer.fetch.pins import Inputs
from tftrainer.fetch.restore import Restored
from tftrainer.fetch.seen import Seen, together
from tftrainer.fetch.selection import Selection, check_inline_script, check_space, facts
from tftrainer.fetch.states import with_relative_states
from tftrainer.fetch.wanted import Batch, Found, Wanted
from tftrainer.layout import Layout
from tftrainer.messages import contract, handover, manifest
from tftrainer.messages.contract import Failure, FetchReport, Pinned, Plan, Reason
from tftrainer.messages.handover import Baseline, FetchedFile, Package, Place, Resolved
from tftrainer.messages.manifest import Manifest
from tftrainer.outputs.settled import notes_mapped_writes
from tftrainer.phase_error import FindingsError, PhaseError, clip, sentence
from tftrainer.progress import Progress, counted, size
from tftrainer.storage.interface import Store
from tftrainer.storage.opening import open_store
from tftrainer.storage.store import digest
from tftrainer.withholding import Plain, arguments_without

TERMINATED: Final = 143
FAILED: Final = 1
ARGUMENT_LIMIT: Final = 1200
STAGING: Final = ".fetch"


def main(plan: Plan, layout: Layout | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Fetch all that the job names; 0 when the script can start, 1 when the job cannot run, 143 after SIGTERM."""
    layout = layout or Layout.from_environment()
    phases = _Fetch(plan, layout, environment)
    # PID 1 has no default action for signals: without a handler the pod's deletion would wait for the whole grace period.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _terminated(layout, phases.stop))
    started = time.monotonic()
    report = reported(phases.run, lambda failure: FetchReport(failure=failure), _disk, say)
    report = msgspec.structs.replace(report, seconds=round(time.monotonic() - started, 3))
    if report.failure is None:
        done = "checked, nothing runs here" if plan.check_only else "ready"
        say(f"{done}: {counted(report.objects, 'object')}, {size(report.bytes)}, in {report.seconds:.2f} s")
    leave_word(layout, report)
    return FAILED if report.failure else 0


def say(text: str) -> None:
    """Print one line to the container's log."""
    print(f"fetch: {text}", flush=True)


def _terminated(layout: Layout, stop: Callable[[], None]) -> NoReturn:
    stop()
    failure = Failure(reason=Reason.TERMINATED, message="the pod was ended while its inputs were fetched")
    leave_word(layout, FetchReport(failure=failure))
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
        self._conditional_writes = True
        self._plain = Plain.of(plan.args, {each.name: each.value for each in plan.addresses})
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
                say(sentence(self._plain.without_in(failed.failure)))
            report = FetchReport(failure=self._plain.without_in(findings.failure))
        except PhaseError as failed:
            failure = self._plain.without_in(failed.failure)
            say(sentence(failure))
            report = FetchReport(failure=failure)
        told = arguments_without(arguments)
        cut = any(len(each) > ARGUMENT_LIMIT for each in told)
        return msgspec.structs.replace(report, resolved_args=tuple(clip(each, ARGUMENT_LIMIT) for each in told), resolved_args_cut=cut)

    def _prepare(self, arguments: tuple[str, ...], *, as_before: bool = False) -> FetchReport:
        """Go through the phases; `as_before`, with each folder of files under its own name, also if it holds the script."""
        self._make_folders()
        buckets = self._buckets()
        given = checked.held(self._plan, buckets.storage)
        self._plan, where = (given, ()) if as_before else with_project(given, buckets)
        notes = tuple(
            msgspec.structs.replace(note, message=clip(self._plain.without(note.message), contract.NOTE_LIMIT))
            for note in addresses.hints(self._plan, buckets)
        )
        earlier = self._earlier(buckets.storage)
        if earlier is not None:
            return self._end_as(earlier)
        code, data, folders, findings, restored, seen, near = self._look_up(buckets)
        total, count = code.bytes + data.bytes, len(code) + len(data)
        findings += check_space((code, data), self._plan, self._free_bytes())
        for text in (*where, *(f"warning: {note.message}" for note in notes)):
            say(clip(f"pre-flight: {text}"))
        if count and not findings and not self._plan.check_only:
            say(f"fetching {counted(count, 'object')}, {size(total)}")
        # Code first: what is wrong with it shows before hours are spent on data, and in one report with all that is missing.
        found = check_code(
            self._plan,
            self._layout,
            list(code),
            download=self._download_code,
            install=functools.partial(self._install, buckets.storage),
            examine=functools.partial(self._preflight, arguments),
            left_out=functools.partial(self._left_out, buckets),
            fetched=total,
            complete=not findings,
        )
        if found.is_elsewhere:
            say("pre-flight: an earlier attempt had the folder that holds the script beside it, under its own name: so has this one")
            self._plan = given
            return self._prepare(arguments, as_before=True)
        if findings or found.findings or found.entry is None:
            raise FindingsError([*findings, *found.findings])
        if found.entry.file is None:
            say(f"pre-flight: {found.entry.module} is no module of the job's own code, and is not examined")
        pins, storage = found.pins, buckets.storage
        report = FetchReport(script=pins.script, archive=pins.archive, files=pins.files, objects=count, bytes=total)
        if self._plan.check_only:
            checked.leave(self._plan, storage, pins)
            return report
        for folder in folders:
            make_folder(folder)
        if data:
            fetch_all(data, self._layout.workspace / STAGING, Progress(len(data), data.bytes, say))
        restored_words = restore.settle(restored, say)
        self._hand_over(arguments, found, found.entry, data, seen, near, buckets)
        return msgspec.structs.replace(
            report,
            logs_uri=clip(storage.uri(storage.credentials.key(manifest.folder(self._plan) + contract.LOGS_FOLDER)), 1200),
            restored=restored_words,
            notes=notes[: contract.NOTES_LIMIT],
        )

    def _preflight(
        self, arguments: tuple[str, ...], entry: Entry, path: tuple[str, ...] | None, packages: tuple[str, ...]
    ) -> list[PhaseError]:
        found = examine(self._plan, self._layout, entry, path, packages, arguments, self._environment)
        for text in (*found.facts, *(f"warning: {warning}" for warning in found.warnings)):
            say(clip(f"pre-flight: {self._plain.without(text)}"))
        return [PhaseError(each.reason, each.message, each.hint, file=each.file, line=each.line) for each in found.errors]

    def _install(self, storage: Store, target: Path) -> tuple[Package, ...]:
        staging = self._layout.workspace / f"{STAGING}-packages"
        installer = Installer(self._plan, storage, staging, say, self._environment, until=self._until)
        self.stop = installer.stop
        return installer.install(target)

    def _download_code(self, wanted: list[Wanted]) -> list[Pinned]:
        total = sum(each.info.size for each in wanted)
        return fetch_code(wanted, self._layout.workspace / STAGING, Progress(len(wanted), total, say)) if wanted else []

    def _left_out(self, buckets: Buckets, index: int) -> list[tuple[str, Pinned]]:
        root = self._layout.workspace / f"{STAGING}-left-out"
        wanted = left_out(index, self._plan.files[index], buckets, root)
        try:
            found = self._download_code(wanted)
        finally:
            shutil.rmtree(root, ignore_errors=True)
        return [(os.path.relpath(each.target, root), pinned) for each, pinned in zip(wanted, found, strict=True)]

    def _free_bytes(self) -> int:
        """Return what the disk has left; that of a check is not the one that the run will have."""
        return self._plan.workspace_bytes if self._plan.check_only else shutil.disk_usage(self._layout.workspace).free

    def _make_folders(self) -> None:
        at = self._layout
        filled = (at.code, at.dependencies, at.bucket, at.datasets, at.inputs)
        if not (at.run_folder / contract.STARTED_NAME).exists():
            # What a fetch that was killed has left may be half of a file, or of an object that is no longer there.
            for folder in (*filled, at.workspace / STAGING):
                shutil.rmtree(folder, ignore_errors=True)
        for folder in (*filled, at.logs, at.run_folder, at.state):
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
                "fill it, or name another Secret in spec.storage.secretName",
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
        handover.write_files((), at.baseline_files)
        handover.write(Baseline(already_done=True), at.baseline)
        return FetchReport(script=earlier.script, archive=earlier.archive)

    def _look_up(self, buckets: Buckets) -> tuple[Selection, Selection, list[Path], list[PhaseError], Restored, Seen, dict[str, str]]:
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
        code, data = Selection(), Selection()
        try:
            # They lie in folders of their own.
            code, data = (Selection(each.wanted for each in found if _is_data(each.wanted) is is_data) for is_data in (False, True))
            check_inline_script(self._plan, self._layout, code)
        except PhaseError as failed:
            findings.append(failed)
            code, data = Selection(), Selection()
        if not findings:
            say(f"pre-flight: {buckets.storage.uri('')} can be written")
        for text in (*facts((data, code)), *(fact for result in found for fact in result.facts)):
            say(clip(f"pre-flight: {self._plain.without(text)}"))
        folders = [folder for result in found for folder in result.folders]
        near = dict(pair for result in found for pair in result.near)
        return code, data, folders, findings, restored, together(each.seen for each in found), near

    def _announce(self, store: Store) -> None:
        """Leave a note that the attempt has begun: the proof, before a GPU is used for hours, that results can be written.

        Of a check nothing is left for the attempt, which has not begun.
        """
        if self._plan.check_only:
            checked.leave(self._plan, store, self._plan.pins)
            return
        note = {"job": f"{self._plan.namespace}/{self._plan.job}", "uid": self._plan.uid, "attempt": self._plan.attempt}
        key, data = store.credentials.key(manifest.folder(self._plan) + manifest.ATTEMPT_NAME), msgspec.json.encode(note)
        store.write(key, data)
        self._conditional_writes = store.keeps_conditions(key, data)

    def _hand_over(
        self,
        arguments: tuple[str, ...],
        code: Code,
        entry: Entry,
        data: Selection,
        seen: Seen,
        near: dict[str, str],
        buckets: Buckets,
    ) -> None:
        at = self._layout
        variables = aliases(self._plan, at)
        on_path = (Path(each) for each in code.path if Path(each) != at.packages)
        make_folders(variables, at, (*([entry.file] if entry.file else []), at.code, *on_path), arguments)
        inputs = Inputs()
        handover.write_files(
            (_fetched(each, at.bucket) for each in inputs.counted(with_relative_states(data, say)) if _lies_at_its_key(each, at.bucket)),
            at.baseline_files,
        )
        baseline = Baseline(
            listed=seen.listed,
            others=seen.others,
            script=code.pins.script,
            archive=code.pins.archive,
            code=code.files,
            files_of_code=code.pins.files,
            inline=entry.file.read_text("utf-8", "replace") if self._plan.script.is_inline and entry.file else "",
            inputs=tuple(inputs.listed),
            more_inputs=inputs.more,
            packages=code.packages,
            resolved_args=arguments,
            conditional_writes=self._conditional_writes,
        )
        handover.write(baseline, at.baseline)
        resolved = Resolved(
            script=str(entry.file or ""),
            module=entry.module,
            cwd=str(at.code),
            argv=arguments,
            path=code.path,
            near=near,
            environment=variables,
            storage=_place(buckets.storage),
            datasets=_place(buckets.datasets) if buckets.datasets is not None else None,
        )
        handover.write(resolved, at.resolved)


def _place(store: Store) -> Place:
    return Place(bucket=store.credentials.bucket, prefix=store.credentials.prefix)


def _is_data(found: tuple[Wanted, ...] | Batch) -> bool:
    return isinstance(found, Batch) or (bool(found) and found[0].role == "data")


def _lies_at_its_key(each: Wanted, root: Path) -> bool:
    """Whether the file, left as it is, need not be uploaded. A checkpoint's may be an older one, put aside in the bucket, or left out."""
    own = saved.is_reserved(each.info.key.removeprefix(each.store.credentials.prefix))
    return each.target.is_relative_to(root) and not own and each.target.exists()


def _fetched(wanted: Wanted, root: Path) -> FetchedFile:
    path = wanted.target
    status = path.stat()
    return FetchedFile(
        path=str(path.relative_to(root)),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        inode=status.st_ino,
        etag=wanted.info.etag,
        ctime_ns=status.st_ctime_ns,
        sha256="" if notes_mapped_writes(status.st_dev) else digest(path),
    )
