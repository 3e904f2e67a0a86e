"""All that a run leaves, brought into the bucket, but for the manifest: outputs, logs, and what is kept beside."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from tftrainer.checkpoints.form import Form, form_below
from tftrainer.checkpoints.snapshots import Snapshots
from tftrainer.layout import Layout
from tftrainer.messages import contract, handover, manifest
from tftrainer.messages.contract import Failure, OnConflict, Plan, PublishedModel, Reason
from tftrainer.messages.handover import Baseline
from tftrainer.messages.manifest import Kept, KeptBecause, PublishedObject, Skipped
from tftrainer.model import gate
from tftrainer.outputs import tree
from tftrainer.outputs.tree import LocalFile
from tftrainer.outputs.upload import Outage, Sent, Uploaded, digest_all, newest_model, upload_all
from tftrainer.phase_error import PhaseError, clip, sentence
from tftrainer.progress import counted, size
from tftrainer.publish import placing
from tftrainer.publish.beside import Beside, of_the_bucket
from tftrainer.publish.changes import changes, skipped_in_words
from tftrainer.publish.ended import Ended
from tftrainer.publish.live import PUBLISHED_LOGS
from tftrainer.publish.note import Facts, note
from tftrainer.publish.outside import elsewhere, last_look, outside
from tftrainer.publish.placing import Conditions
from tftrainer.storage.condition import Absent, Condition
from tftrainer.storage.errors import RefusedError, translate
from tftrainer.storage.interface import Store


@dataclass(frozen=True, slots=True)
class Publication:
    """What is in the bucket of the run. `failure` is why the run does not count, if it does not; `note` what its user has to know."""

    objects: tuple[PublishedObject, ...] = ()
    logs: tuple[PublishedObject, ...] = ()
    kept: tuple[Kept, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    model: PublishedModel | None = None
    failure: Failure | None = None
    note: str = ""


@dataclass(slots=True)
class Publishing:
    """Brings what one run has left below `layout` into the store. What was `uploaded` while the script ran is not sent again.

    `hurried` tells whether the pod is about to end, so that there is time for what has to be done and no more. `followed` are paths of what
    came from the bucket while the script ran.
    """

    plan: Plan
    layout: Layout
    store: Store
    baseline: Baseline
    ended: Ended
    load: gate.Load
    say: Callable[[str], None]
    uploaded: Uploaded = field(default_factory=dict)
    snapshots: Snapshots | None = None
    hurried: Callable[[], bool] = lambda: False
    followed: frozenset[str] = frozenset()

    def run(self) -> Publication:
        """Publish everything; of a replica that neither leads its group nor evaluates, the logs alone.

        Raises:
            PhaseError: something of it is not in the bucket.
        """
        return self._all() if self._has_outputs else self._only_logs()

    @property
    def _has_outputs(self) -> bool:
        return self.plan.leads or self.plan.evaluates

    def _only_logs(self) -> Publication:
        logs = self._logs()
        self.say(f"uploading {counted(len(logs), 'log')}: {self.plan.leader} publishes the outputs")
        sent = upload_all(self.store, self.layout.logs, self._logs_prefix, logs, self.say)
        if sent.failures:
            raise self._incomplete(sent.failures, len(logs), len(sent.done))
        left, _, _ = changes(self.layout.bucket, self._prefix, handover.read_files(self.layout.baseline_files))
        away = outside(self.layout, 0)
        facts = replace(self._facts(), unpublished=(*left, *away.too_much), leader=self.plan.leader)
        return Publication(logs=tuple(sent.done), failure=self._of_script(), note=note(facts, self.store.uri))

    def _all(self) -> Publication:
        found, skipped, unreadable = self._changes()
        smallest_first = sorted(found, key=lambda each: (each.size, each.path))
        files, too_much = placing.within(smallest_first, placing.UPLOADED_LIMIT * self.plan.workspace_bytes)
        logs = self._logs()
        verdict = self._gate(files, skipped)
        held = self._held(files, verdict)
        put = [file for file in files if file not in held]
        suspects = self._suspects(put)
        self.say(
            f"uploading {counted(len(files), 'changed file')} and {counted(len(logs), 'log')}, {size(sum(each.size for each in files))}"
        )
        outage = Outage()
        beside = Beside(self.store, self.plan, self.layout.workspace, self.say, outage)
        logged = upload_all(self.store, self.layout.logs, self._logs_prefix, logs, self.say, outage=outage)
        failures = [*unreadable, *self._too_much(too_much), *logged.failures]
        if not outage.given_up:
            self._checkpoints(lambda snapshots: snapshots.protect(each for each in put if each not in self.uploaded))
        sent = self._put(put, suspects, outage)
        failures += sent.failures
        if not failures:
            self._checkpoints(lambda snapshots: snapshots.conclude(sent.done, self._quiet_before))
        # What has no place of its own comes after all that has one, as the pod may be ended; and of that, what may be no result comes last.
        because = {
            of_the_bucket(file): KeptBecause.CUT_SHORT if file in suspects else KeptBecause.CHANGED_MEANWHILE for file in sent.refused
        }
        because |= {of_the_bucket(file): KeptBecause.MODEL_NOT_VERIFIED for file in held}
        failures += beside.keep(because)
        away = outside(self.layout, self.plan.kept_bytes)
        failures += beside.keep(dict.fromkeys(away.kept, KeptBecause.OUTSIDE_THE_BUCKET), given_up=self.hurried)
        if failures:
            done = len(sent.done) + len(logged.done) + len(beside.kept) + len(beside.given_up)
            raise self._incomplete(failures, len(found) + len(unreadable) + len(logs) + len(away.kept), done)
        facts = replace(
            self._facts(),
            folder=beside.uri,
            kept=beside.kept,
            too_much=[*away.too_much, *beside.given_up],
            impossible=away.impossible,
            elsewhere=elsewhere(self.layout),
            model=self._why_held(verdict),
            empty=list(placing.empty_outputs(self.plan, {file.path for file in files})) if self.ended.succeeded and self.plan.leads else [],
        )
        return Publication(
            tuple(sent.done),
            tuple(logged.done),
            tuple(beside.kept),
            tuple(skipped),
            self._model(verdict, put, sent.done, beside.kept),
            self._failure(verdict, [file for file in sent.refused if file not in suspects]),
            note(facts, self.store.uri),
        )

    def _facts(self) -> Facts:
        result = self.ended.result
        return Facts(
            left_running=result.left_running,
            logs_lost=result.logs_lost,
            memory_kills=result.memory_kills if self.ended.succeeded else 0,
        )

    def digested(self) -> Publication:
        """Return what `run` would publish, as far as it takes to know the run again, without a word to the store."""
        logs = self._logs()
        if not self._has_outputs:
            return Publication(logs=tuple(digest_all(self.layout.logs, self._logs_prefix, logs)))
        files, skipped, _ = self._changes()
        beside = Beside(self.store, self.plan, self.layout.workspace, self.say, Outage())
        away = outside(self.layout, self.plan.kept_bytes)
        beside.keep(dict.fromkeys(away.kept, KeptBecause.OUTSIDE_THE_BUCKET), digest_only=True)
        return Publication(
            tuple(digest_all(self.layout.bucket, self._prefix, files)),
            tuple(digest_all(self.layout.logs, self._logs_prefix, logs)),
            tuple(beside.kept),
            tuple(skipped),
        )

    @property
    def _prefix(self) -> str:
        return self.store.credentials.prefix

    @property
    def _logs_prefix(self) -> str:
        return self.store.credentials.key(manifest.folder(self.plan) + contract.LOGS_FOLDER)

    @property
    def _quiet_before(self) -> float:
        """Before when a file must have been left alone to be whole.

        A script that was killed may have been writing it, and one for which there was no room cannot have written all of it.
        """
        result = self.ended.result
        cut = result.killed or (result.failure is not None and result.failure.reason is Reason.WORKSPACE_FULL)
        return self.ended.at - placing.CUT_SECONDS if cut else math.inf

    def _changes(self) -> tuple[list[LocalFile], list[Skipped], list[Failure]]:
        files, skipped, unreadable = changes(self.layout.bucket, self._prefix, handover.read_files(self.layout.baseline_files))
        for line in skipped_in_words(skipped):
            self.say(line)
        # Where there are too many, links give way to what holds data.
        files = [each for each in files if each.path not in self.followed]
        return files, sorted(skipped, key=lambda each: not each.data)[: tree.SKIPPED_LIMIT], unreadable

    def _logs(self) -> list[LocalFile]:
        found = tree.walk(self.layout.logs, self._logs_prefix) if self.layout.logs.is_dir() else ()
        return [each for each in found if isinstance(each, LocalFile) and each.path in PUBLISHED_LOGS]

    def _gate(self, files: Iterable[LocalFile], skipped: Sequence[Skipped]) -> gate.Verdict:
        if self.plan.model is None or not self.ended.succeeded or self.plan.evaluates:
            return gate.Verdict()
        apart = placing.within_model(self.plan)
        expected = [PublishedObject(key=self._prefix + file.path, size=file.size, sha256="") for file in files if not apart(file.path)]
        written = gate.Written(self.layout.bucket, self._prefix, expected, self.store.uri, skipped)
        return gate.examine(self.plan.model, written, self.load, self.say)

    def _held(self, files: Iterable[LocalFile], verdict: gate.Verdict) -> frozenset[LocalFile]:
        """Return what is not put at the path of the promised model: all of it, or where one was loaded, others that were not.

        The others are loaded too, those that were written last first, as long as there is time.
        """
        found = placing.held_back(self.plan, files)
        if not verdict.verified:
            return frozenset(found)
        others = [(folder, model) for folder, model in placing.models(found).items() if folder != verdict.folder]
        others.sort(key=lambda each: -max(file.ctime_ns for file in each[1]))
        until = time.monotonic() + gate.LOAD_SECONDS

        def loads(folder: str) -> bool:
            return not self.hurried() and time.monotonic() < until and not self.load(self.layout.bucket / folder).error

        return frozenset[LocalFile]().union(*(model for folder, model in others if not loads(folder)))

    def _why_held(self, verdict: gate.Verdict) -> str:
        if self.plan.evaluates:
            return f"the model there is what {self.plan.leader} exports"
        if not self.ended.succeeded:
            return "the script did not succeed, so that its model was not loaded"
        return verdict.why or "beside the model that was loaded lie others that do not load, or that there was no time for"

    def _suspects(self, files: Collection[LocalFile]) -> frozenset[LocalFile]:
        """Return the files that the end may have cut, but for those whose form, or whose state of checkpoints, says that they are whole."""
        if self.ended.succeeded and not self.ended.result.left_running:
            return frozenset()
        whole = self.snapshots.whole_files(self._quiet_before) if self.snapshots is not None else frozenset()
        # A script that succeeds has closed its files; what it left running was killed, and may not have.
        found = placing.may_be_cut(files, last_look(self.layout), math.inf if self.ended.succeeded else self.ended.at)
        suspects = [file for file in found if file not in whole and file not in self.uploaded and not self._is_whole(file)]
        return placing.with_company(suspects, self._models(files))

    def _is_whole(self, file: LocalFile) -> bool:
        return form_below(self.layout.bucket, file.source) is Form.WHOLE

    def _models(self, files: Iterable[LocalFile]) -> list[frozenset[LocalFile]]:
        # Of checkpoints, the leader's index says what belongs together; an evaluator's exports among them have none.
        in_checkpoints = placing.checkpoints_of(self.plan)
        models = files if self.plan.evaluates else (file for file in files if not in_checkpoints(file.path))
        return list(placing.models(models).values())

    def _put(self, files: Collection[LocalFile], suspects: Collection[LocalFile], outage: Outage) -> Sent:
        """Upload files to their keys; what would take the place of something that it must not is refused."""
        paths = {each.path for each in files}
        fetched = (each for each in handover.read_files(self.layout.baseline_files) if each.path in paths)
        conditions = Conditions.of(self.plan, self.baseline, fetched)

        def wanted(file: LocalFile) -> Condition | None:
            return Absent() if file in suspects else conditions(file)

        def condition(file: LocalFile) -> Condition | None:
            if self.baseline.conditional_writes:
                return wanted(file)
            # A store that knows no conditions may refuse what has one. So it is asked.
            if not self._holds(file, wanted(file)):
                raise translate(RefusedError(), self.store.uri(self._prefix + file.path), self.store.credentials)
            return None

        models = self._models(files)
        torn = [file for model in models if not all(self._seems_to_hold(file, wanted(file)) for file in model) for file in model]
        apart = frozenset(torn)
        parts, graphs = placing.graphs_last(file for file in files if file not in apart)
        first = self._upload(parts, condition, outage)
        alone = placing.without_company(graphs, {*first.failed, *(file.path for file in first.refused)})
        second = self._upload([each for each in graphs if each not in alone], condition, outage)
        return Sent(
            sorted([*first.done, *second.done], key=lambda each: each.key),
            first.failures + second.failures,
            first.failed | second.failed,
            list(placing.with_company([*torn, *first.refused, *second.refused, *alone], models)),
        )

    def _upload(self, files: list[LocalFile], condition: Callable[[LocalFile], Condition | None], outage: Outage) -> Sent:
        return upload_all(self.store, self.layout.bucket, self._prefix, files, self.say, self.uploaded, outage, condition)

    def _holds(self, file: LocalFile, condition: Condition | None) -> bool:
        if condition is None or file in self.uploaded:
            return True
        found = self.store.find(self._prefix + file.path)
        return found is None if isinstance(condition, Absent) else found is not None and found.etag == condition.etag

    def _seems_to_hold(self, file: LocalFile, condition: Condition | None) -> bool:
        """Whether a condition holds by now, or nobody can tell."""
        try:
            return self._holds(file, condition)
        except PhaseError:
            return True

    def _checkpoints(self, step: Callable[[Snapshots], None]) -> None:
        """Do a step for the checkpoints. Without it the outputs are published all the same."""
        if self.snapshots is None:
            return
        try:
            step(self.snapshots)
        except PhaseError as failed:
            self.say(f"the checkpoint in the bucket may not be whole: {sentence(failed.failure)}")

    def _model(
        self, verdict: gate.Verdict, put: Iterable[LocalFile], objects: Sequence[PublishedObject], kept: Iterable[Kept]
    ) -> PublishedModel | None:
        """Return the model, and where it lies: under its key, or beside."""
        if self.plan.model is None or self.plan.evaluates:
            return newest_model(put, objects, self._prefix, self.store.uri)
        if verdict.model is None:
            return None
        graph = self._prefix + verdict.folder + contract.SAVED_MODEL
        for each in objects:
            if each.key == graph:
                return msgspec.structs.replace(verdict.model, sha256=each.sha256)
        place = next((each for each in kept if each.instead_of == graph), None)
        if place is None:
            return None
        return msgspec.structs.replace(
            verdict.model, sha256=place.sha256, uri=clip(self.store.uri(place.key.removesuffix(contract.SAVED_MODEL)), 1200)
        )

    def _failure(self, verdict: gate.Verdict, conflicts: Iterable[LocalFile]) -> Failure | None:
        if (of_script := self._of_script()) is not None:
            return of_script
        if verdict.failure is not None:
            return verdict.failure
        wanted = Conditions.of(self.plan, self.baseline, ())
        refused = [self._prefix + each.path for each in conflicts if wanted.on_conflict(each.path) is OnConflict.FAIL]
        if not refused:
            return None
        more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
        return PhaseError(
            Reason.OUTPUT_CONFLICT,
            f"{self.store.uri(refused[0])}{more} was written by somebody else while the job ran, and spec.outputs says onConflict: Fail",
            "run the job again, when nobody else writes there; this run's file is kept beside, as the manifest says",
        ).failure

    def _of_script(self) -> Failure | None:
        if self.ended.succeeded:
            return None
        result = self.ended.result
        return result.failure or Failure(reason=Reason.SCRIPT_EXITED, message=f"the script ended with exit code {result.exit_code}")

    def _too_much(self, files: Sequence[LocalFile]) -> list[Failure]:
        if not files:
            return []
        largest = files[-1]
        sparse = PhaseError(
            Reason.PUBLISH_FAILED,
            f"outputs are not uploaded that have {placing.UPLOADED_LIMIT} times more bytes than the workspace holds "
            f"({size(self.plan.workspace_bytes)}): {counted(len(files), 'file')}, the largest {largest.path!r} with {size(largest.size)}",
            "write no files with holes, and give no file many names; or raise spec.resources.workspace",
        )
        return [sparse.failure]

    def _incomplete(self, failures: Sequence[Failure], total: int, done: int) -> PhaseError:
        for each in failures:
            self.say(sentence(each))
        first = failures[0]
        return PhaseError(
            first.reason, f"{total - done} of {counted(total, 'output')} could not be uploaded; the first: {first.message}", first.hint
        )
