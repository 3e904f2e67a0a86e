"""Why jobs fail: every reason with its cause, what it means and what to do about it. `docs/reference/failures.md` is made of this."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final, NamedTuple

from tftrainer.messages.contract import Cause, Reason

from tftraining_operator.api.spec import Budget


class Section(enum.StrEnum):
    """What a reason is a matter of: the headings of the page."""

    SCRIPT = "Your script"
    SPEC = "What the job names"
    LIMITS = "Limits"
    STORAGE = "Storage"
    PACKAGE_INDEX = "The package index"
    CLUSTER = "The cluster"


class Entry(NamedTuple):
    """What there is to know of a reason. `budget` is what another attempt is taken from, None where none follows.

    `meaning` and `remedy` are Markdown, with links as from `docs/reference`.
    """

    section: Section
    cause: Cause
    budget: Budget | None
    meaning: str
    remedy: str


REASONS: Final[Mapping[Reason, Entry]] = {
    Reason.SCRIPT_RAISED: Entry(
        Section.SCRIPT,
        Cause.USER_ERROR,
        Budget.USER_ERROR,
        "the script raised an exception and did not catch it",
        "`exception`, `file`, `line` and `traceback` say where",
    ),
    Reason.SCRIPT_EXITED: Entry(
        Section.SCRIPT,
        Cause.USER_ERROR,
        Budget.USER_ERROR,
        "the script ended with an exit code other than 0, or sent a stop signal to the process that has started it",
        (
            "`exitCode`, and the end of the log; `exception`, `file` and `line` are of the last traceback that it printed, if "
            "it did so just before: often why, but not always"
        ),
    ),
    Reason.SCRIPT_CRASHED: Entry(
        Section.SCRIPT,
        Cause.USER_ERROR,
        Budget.USER_ERROR,
        "native code crashed: SIGSEGV, SIGABRT and the like",
        "the end of the log; often a library and its version",
    ),
    Reason.SCRIPT_KILLED: Entry(
        Section.SCRIPT,
        Cause.UNKNOWN,
        Budget.INFRASTRUCTURE,
        (
            "the script was killed by a signal and nothing says by whom; where the launcher lived to tell that nobody outside the "
            "container has sent it, another attempt is taken from `userError`"
        ),
        "the end of the log",
    ),
    Reason.SYNTAX_ERROR: Entry(
        Section.SCRIPT,
        Cause.USER_ERROR,
        None,
        "the script is not valid Python for the runtime",
        (
            "`file` and `line`; the message says if the file is a notebook, Python 2, a shell script, a zip, a table or other "
            "data, or which byte is no text"
        ),
    ),
    Reason.IMPORT_MISSING: Entry(
        Section.SCRIPT,
        Cause.USER_ERROR,
        None,
        (
            "a module that is imported, or is `script.module`, is neither beside the script, nor in the archive, nor in the "
            "runtime; or a file of yours [hides one](../explanation/preflight.md#files-that-hide-a-module); or it is a name of "
            "[TensorFlow 1](../explanation/preflight.md#programs-of-tensorflow-1)"
        ),
        (
            "the message says which: put the module into `dependencies.archive` or `dependencies.files`, rename the file, or "
            "choose another runtime"
        ),
    ),
    Reason.INVALID_ARGUMENTS: Entry(
        Section.SCRIPT,
        Cause.USER_ERROR,
        None,
        "the script's own `argparse` would refuse `spec.args`; found [before the start](../explanation/preflight.md)",
        "the message names the argument and what the script knows",
    ),
    Reason.MODEL_MISSING: Entry(
        Section.SCRIPT,
        Cause.USER_ERROR,
        Budget.USER_ERROR,
        "the script succeeded, but there is no SavedModel of this run at [`model.path`](job.md#the-model)",
        "the message says what lies there; correct the export or the path",
    ),
    Reason.MODEL_UNLOADABLE: Entry(
        Section.SCRIPT,
        Cause.USER_ERROR,
        Budget.USER_ERROR,
        "the SavedModel at `model.path` cannot be loaded, or is not whole in the bucket",
        "the message has TensorFlow's own words, or names what was not uploaded; export it whole, with the tag `serve`",
    ),
    Reason.OUTPUT_CONFLICT: Entry(
        Section.SCRIPT,
        Cause.USER_ERROR,
        None,
        (
            "the script succeeded, but somebody else has written [the same object](job.md#two-writers-of-one-object) while it "
            "ran, and `outputs[].onConflict` is `Fail`"
        ),
        (
            "the message names the object; theirs is in its place, this run's is [kept beside](job.md#what-is-kept-beside): "
            "compare them, and create the job again or copy the one that counts"
        ),
    ),
    Reason.INVALID_SPEC: Entry(
        Section.SPEC,
        Cause.SPEC,
        None,
        (
            "the spec breaks a rule that the API server did not check, or asks for more than "
            "[an admin lets one job have](../how-to/quotas.md#a-bound-for-each-job), or `script.uri` names an object of more than 64 MiB, "
            "which is no program, or the script's strategy "
            "[cannot train on `spec.replicas`](../explanation/preflight.md#strategies-that-cannot-train-on-the-replicas)"
        ),
        "the message names the field, or the line of the script",
    ),
    Reason.UNKNOWN_RUNTIME: Entry(
        Section.SPEC,
        Cause.SPEC,
        None,
        "`spec.runtime` is not in the operator's catalogue",
        "the message lists those that are",
    ),
    Reason.UNKNOWN_RESOURCE_CLASS: Entry(
        Section.SPEC,
        Cause.SPEC,
        None,
        "`spec.resourceClass` is not in the operator's catalogue, or was taken out of it before the next attempt",
        "the message lists those that are",
    ),
    Reason.OBJECT_NOT_FOUND: Entry(
        Section.SPEC,
        Cause.USER_ERROR,
        None,
        ("script, archive, file, input or data set does not exist in the bucket, or the dependencies bring no file `script.path`"),
        "correct the URI, or upload the object",
    ),
    Reason.INPUT_TOO_LARGE: Entry(
        Section.SPEC,
        Cause.USER_ERROR,
        None,
        (
            "what only an argument names is larger than [the installation fetches unasked](job.md#what-an-argument-names); or "
            "all that is fetched, with the archive unpacked, does not fit into `spec.resources.workspace`"
        ),
        ("name it in `spec.outputs` if the script only writes there, in `spec.inputs` if it reads it; or raise `spec.resources.workspace`"),
    ),
    Reason.INPUT_CONFLICT: Entry(
        Section.SPEC,
        Cause.USER_ERROR,
        None,
        ("two things that are fetched would lie at the same path and have different contents, or one inside the other as a file"),
        "rename one of them, or name another place with [`dependencies.files[].into`](job.md#where-files-land)",
    ),
    Reason.INVALID_ARCHIVE: Entry(
        Section.SPEC,
        Cause.USER_ERROR,
        None,
        (
            "the archive is not a zip, or holds [what is refused](job.md#the-archive): paths that leave it, links, duplicates, "
            "or far more data than its size allows"
        ),
        "the message names the entry; make it anew from plain files",
    ),
    Reason.DIGEST_MISMATCH: Entry(
        Section.SPEC,
        Cause.USER_ERROR,
        None,
        "an object is not the one whose `sha256` the job demands",
        "correct the digest, or the object",
    ),
    Reason.CODE_CHANGED: Entry(
        Section.SPEC,
        Cause.USER_ERROR,
        None,
        "script, archive or a file is not what an earlier attempt of the same job ran",
        "put the old content back, or create a new job to run the new one",
    ),
    Reason.REQUIREMENTS_UNSATISFIABLE: Entry(
        Section.SPEC,
        Cause.USER_ERROR,
        None,
        (
            "`dependencies.requirements` names a package or a version that the index does not have for this runtime, or that "
            "does not go with the image's packages"
        ),
        "the message has what is in conflict, or the versions that there are",
    ),
    Reason.NAME_CONFLICT: Entry(
        Section.SPEC,
        Cause.SPEC,
        None,
        "a pod of the job's name exists and is not the job's",
        "delete that pod, or name the job otherwise",
    ),
    Reason.OUT_OF_MEMORY: Entry(
        Section.LIMITS,
        Cause.OUT_OF_MEMORY,
        Budget.OUT_OF_MEMORY,
        (
            "the script used more than `spec.resources.memory`; or one of its processes was killed for that, and the script "
            "[ended by it, or did nothing any more](job.md#memory)"
        ),
        "raise it, or use smaller batches, or fewer worker processes; the message names limit and peak",
    ),
    Reason.WORKSPACE_FULL: Entry(
        Section.LIMITS,
        Cause.USER_ERROR,
        None,
        ("fetched and written files exceed `spec.resources.workspace`, or one file is larger than that and `spec.resources.sharedMemory`"),
        "raise it, or write less",
    ),
    Reason.SCRIPT_HUNG: Entry(
        Section.LIMITS,
        Cause.USER_ERROR,
        Budget.USER_ERROR,
        "the script [gave no sign of life](job.md#a-script-that-hangs) for `inactivitySeconds`",
        (
            "`file`, `line` and `traceback` say where it waited, `stacks.log` beside the log where every thread of it did; raise "
            "`inactivitySeconds` if it may rest so long"
        ),
    ),
    Reason.DEADLINE_EXCEEDED: Entry(
        Section.LIMITS,
        Cause.DEADLINE,
        None,
        "the script ran longer than `activeDeadlineSeconds`, in all [attempts together](../how-to/retries.md#time)",
        (
            "raise it; what was written until then is in the bucket. Where the hint says that the last line was passed: end the "
            "thread that it names, or make it a daemon"
        ),
    ),
    Reason.PENDING_DEADLINE_EXCEEDED: Entry(
        Section.LIMITS,
        Cause.DEADLINE,
        None,
        "the script was not running after `pendingDeadlineSeconds`",
        ("the message names what it waited for; where code and data were still being fetched, the log of `fetch` says how far they were"),
    ),
    Reason.STORAGE_DENIED: Entry(
        Section.STORAGE,
        Cause.STORAGE,
        None,
        "the store refuses the keys of the Secret, or an action",
        "correct the Secret, or the [rights](storage-secret.md)",
    ),
    Reason.BUCKET_NOT_FOUND: Entry(
        Section.STORAGE,
        Cause.STORAGE,
        None,
        "the Secret's bucket does not exist",
        "create it, or correct the Secret",
    ),
    Reason.STORAGE_UNAVAILABLE: Entry(
        Section.STORAGE,
        Cause.STORAGE,
        Budget.STORAGE,
        "the store does not answer, or keeps failing",
        "check the endpoint; the store's own state",
    ),
    Reason.STORAGE_MISCONFIGURED: Entry(
        Section.STORAGE,
        Cause.STORAGE,
        None,
        "a key of the Secret has a wrong form",
        "the message names the key",
    ),
    Reason.PUBLISH_FAILED: Entry(
        Section.STORAGE,
        Cause.PUBLISH,
        Budget.STORAGE,
        "the outputs or the manifest could not be uploaded, so the run does not count",
        "`kubectl logs POD -c publisher`",
    ),
    Reason.PACKAGE_INDEX_UNAVAILABLE: Entry(
        Section.PACKAGE_INDEX,
        Cause.INFRASTRUCTURE,
        Budget.INFRASTRUCTURE,
        "the index of the chart's `packageIndex.url` does not answer, or refuses",
        "ask an admin: the URL, and whether pods of the job's namespace reach it",
    ),
    Reason.PEERS_MISSING: Entry(
        Section.CLUSTER,
        Cause.INFRASTRUCTURE,
        Budget.INFRASTRUCTURE,
        "the names of other replicas of the job were not known in time, so that the script was not started",
        "the message names them: look what their pods wait for, or whether the cluster's DNS works",
    ),
    Reason.PEER_LOST: Entry(
        Section.CLUSTER,
        Cause.INFRASTRUCTURE,
        Budget.INFRASTRUCTURE,
        (
            "a replica lost another one, and nothing shows that any failed by itself: that one may have hung, or its node or the network "
            "was away"
        ),
        "the message names it, as far as TensorFlow does: look at its log; `inactivitySeconds` finds a script that hangs",
    ),
    Reason.TERMINATED: Entry(
        Section.CLUSTER,
        Cause.INFRASTRUCTURE,
        Budget.INFRASTRUCTURE,
        "the script was told to stop from outside, or has saved before a preemption and ended with TensorFlow's own code for it",
        "create the job anew, or raise `retry.infrastructure`",
    ),
    Reason.POD_DELETED: Entry(
        Section.CLUSTER,
        Cause.INFRASTRUCTURE,
        Budget.INFRASTRUCTURE,
        "somebody deleted the pod",
        "to stop a job, set `stop` or `suspend`, or delete it; else create it anew, or raise `retry.infrastructure`",
    ),
    Reason.EVICTED: Entry(
        Section.CLUSTER,
        Cause.INFRASTRUCTURE,
        Budget.INFRASTRUCTURE,
        "the node ended the pod, or it was drained",
        "create the job anew, or raise `retry.infrastructure`",
    ),
    Reason.PREEMPTED: Entry(
        Section.CLUSTER,
        Cause.PREEMPTION,
        Budget.PREEMPTION,
        "a pod of higher priority took its place; or [a queue](../how-to/queues.md) took it back, as for a job of higher priority",
        "create the job anew, or raise `retry.preemption`",
    ),
    Reason.NODE_LOST: Entry(
        Section.CLUSTER,
        Cause.INFRASTRUCTURE,
        Budget.INFRASTRUCTURE,
        "the node is gone or does not answer",
        "create the job anew, or raise `retry.infrastructure`",
    ),
    Reason.IMAGE_UNAVAILABLE: Entry(
        Section.CLUSTER,
        Cause.IMAGE,
        None,
        ("the runtime's image cannot be had, or is older than the operator and does not know a field of the job, which the message names"),
        "an admin corrects the runtime catalogue, or updates `runtimes.NAME.image`",
    ),
    Reason.CONTAINER_NOT_STARTED: Entry(
        Section.CLUSTER,
        Cause.INFRASTRUCTURE,
        Budget.INFRASTRUCTURE,
        "the node could not start the container, or refused the pod",
        "the message says why; if it stays so, an admin looks at the node",
    ),
    Reason.TRAINER_ERROR: Entry(
        Section.CLUSTER,
        Cause.INFRASTRUCTURE,
        Budget.INFRASTRUCTURE,
        "the product's own part in the pod failed",
        "report it, with the log",
    ),
    Reason.UNKNOWN: Entry(
        Section.CLUSTER,
        Cause.UNKNOWN,
        Budget.INFRASTRUCTURE,
        "the pod ended and nothing says why",
        "`kubectl describe pod POD`",
    ),
}
"""Every reason."""
