"""What to do about the exception that ended a script: rules over facts, the first that fits wins. Pure.

One hint for one mistake, its remedy first.
"""

from __future__ import annotations

import dataclasses
import enum
import errno
import re
import sys
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

from tftrainer import hosted
from tftrainer.messages import contract
from tftrainer.messages.contract import Plan
from tftrainer.messages.handover import Place
from tftrainer.run.evidence import Evidence
from tftrainer.run.shared_memory import FOLDER as SHARED_MEMORY
from tftrainer.run.shared_memory import SharedMemory

_UNKNOWN: Final = SharedMemory()


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """What is known of the run beside the exception.

    `files` are paths, below the `workspace`, of files that the script had. `storage` and `datasets` are what `${bucket}` and
    `${datasets}` stand for. `foreign` are the addresses of other processes that the variable TF_CONFIG names. `in_pod` is false without
    a cluster. `near` gives, by its local path, what was not there before the start: what lay beside it in the bucket and may have been
    meant. `on_version_1` tells what to do about a name such as `tensorflow.Session`, empty if the runtime has it or version 1 had not.
    """

    workspace: Path
    plan: Plan
    argv: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    storage: Place | None = None
    datasets: Place | None = None
    shared: SharedMemory = _UNKNOWN
    foreign: tuple[str, ...] = ()
    in_pod: bool = True
    near: Mapping[str, str] = dataclasses.field(default_factory=dict)
    on_version_1: Callable[[str], str] = lambda _name: ""


Rule = Callable[[Evidence, Setting, "_Complaint | None"], str]
"""Returns the hint, empty where the rule does not fit; given the exception, the run, and what the exception says of a file."""


def hint(found: Evidence, setting: Setting) -> str:
    """Return what to do about the exception, empty where nothing is known."""
    complaint = _complaint_of(found)
    return next(filter(None, (rule(found, setting, complaint) for rule in RULES)), "")


def out_of_shared_memory(found: Evidence, setting: Setting) -> bool:
    """Whether the exception is what a full `/dev/shm` leads to, and it was full."""
    complaint = _complaint_of(found)
    if complaint and complaint.kind is _Kind.FULL and complaint.path.startswith(f"{SHARED_MEMORY}/"):
        return True
    about = complaint is not None and complaint.kind is _Kind.FULL and not complaint.path
    return setting.shared.was_full and (about or bool(_SHARED.search(f"{found.type}: {found.message}")))


def full_shared_memory(setting: Setting) -> str:
    """Say that `/dev/shm` was full, and by how much."""
    shared = setting.shared
    if not shared.was_full:
        return f"{SHARED_MEMORY} was full."
    wanted = _mebibytes(max(shared.used, shared.promised))
    return f"{SHARED_MEMORY} was full: its files were to hold {wanted}, it has {_mebibytes(shared.size)}."


def more_shared_memory(setting: Setting) -> str:
    """Return what to do about a full `/dev/shm`."""
    if not setting.in_pod:
        return f"Make {SHARED_MEMORY} of this machine larger (in a pod it is spec.resources.sharedMemory), or use fewer or smaller buffers."
    now = _mebibytes(setting.plan.shared_memory_bytes)
    return (
        f"Raise spec.resources.sharedMemory (now {now}; it is part of spec.resources.memory), or use fewer or smaller buffers and workers."
    )


def foreign_cluster(setting: Setting) -> str:
    """Return what to do where TF_CONFIG names processes that are no part of the job; empty where it does not."""
    if not setting.foreign:
        return ""
    named = ", ".join(setting.foreign[:3]) + ", …" * (len(setting.foreign) > 3)
    return (
        "Remove TF_CONFIG from the image, or from os.environ before TensorFlow is imported: this job runs one process, and TensorFlow "
        f"waits for the others that it names ({named[:200]})."
    )


class _Kind(enum.Enum):
    MISSING = "No such file or directory"
    DENIED = "Read-only file system|Permission denied"
    CROSSED = "Invalid cross-device link"
    FULL = "No space left on device|Disk quota exceeded"
    MANY_OPEN = "Too many open files"


_BY_NUMBER: Final = {
    errno.ENOENT: _Kind.MISSING,
    errno.EACCES: _Kind.DENIED,
    errno.EPERM: _Kind.DENIED,
    errno.EROFS: _Kind.DENIED,
    errno.EXDEV: _Kind.CROSSED,
    errno.ENOSPC: _Kind.FULL,
    errno.EDQUOT: _Kind.FULL,
    errno.EMFILE: _Kind.MANY_OPEN,
    errno.ENFILE: _Kind.MANY_OPEN,
}
_ABOUT_FILES: Final = frozenset(
    {
        "OSError",
        "IOError",
        "FileNotFoundError",
        "PermissionError",
        "NotFoundError",
        "PermissionDeniedError",
        "FailedPreconditionError",
        "ResourceExhaustedError",
        "UnknownError",
        "RuntimeError",
    }
)
"""Of other exceptions the words alone may mean anything."""
_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")
_ABSENT: Final = re.compile(
    r"No such file or directory|does not exist|non-existent directory|matching files for"
    r"|No file or directory found|Could not find directory"
)
_ABSENT_OF_ANY_TYPE: Final = re.compile(r"File not found: filepath=|No files matched pattern: |not a valid checkpoint: ")
_PATHS: Final = tuple(
    re.compile(each)
    for each in (
        r"(?:filepath=|matched pattern: |not a valid checkpoint: |matching files for |exist at: |found at |find directory )([^\s'\",;{]+)",
        r"(?<![^\s;'\"{}])([^\s;'\"{}]+)\s*;\s*(?:No such|Read-only|Permission|No space|Disk quota|Too many|Not a )",
        r"'(?=[^'/.\w]*[/.\w])([^']*)'",
        r'"(?=[^"/]*/)([^"]*)"',
        r"(?:^|[\s:])(/[^\s;:,'\"]+)",
    )
)
"""Where the words of the system, of TensorFlow, Keras and HDF5 have the path. Each takes no longer than the text is long."""
_WRITES: Final = re.compile(
    r"\b(?:make_?dirs?|mkdir|save\w*|to_(?:csv|json|pickle|parquet|hdf|excel|feather)|dump|export\w*|writ\w+|\w*Writer|touch)\("
    r"""|\bopen\([^)]{0,300}['"][rb]?[wax][bt+]*['"]"""
)
_SHARED: Final = re.compile(
    r"bus error|sigbus|shared memory|\bshm\b|/dev/shm|BrokenProcessPool|DataLoader worker|terminated abruptly", re.IGNORECASE
)
_DIED: Final = re.compile(r"BrokenProcessPool|DataLoader worker .{0,100}(?:killed|exited unexpectedly)|terminated abruptly|WorkerLostError")
_REMOTE: Final = re.compile(r"\b(?P<scheme>s3[an]?|gs|gcs|hdfs|dbfs|abfss?|wasbs?|adl|az|oss|cos)(?P<at>:/{1,2}[^\s'\"()\[\],;]+)")
_NO_WAY_THERE: Final = re.compile(
    r"scheme '?\w+'? not implemented|\b(?:fsspec|s3fs|gcsfs|adlfs|boto\w*)\b|Unable to locate credentials|NoCredentials"
    r"|Could not resolve host|Error executing an HTTP request|not supported|Unsupported"
)
_PART_OF_CHECKPOINT: Final = re.compile(r"/[^/\s]+-\d+_temp\b")
_SYSTEM: Final = ("/usr/", "/lib", "/etc/", "/bin/", "/sbin/", "/proc/", "/sys/", "/dev/", "/opt/venv/", "/var/lib/")
_FOREIGN: Final = re.compile(
    r"/(?:kaggle/(?:input|working)|content/drive/(?:MyDrive|My Drive)|content|mnt/(?:data|outputs?)|gcs/[^/]+"
    r"|dbfs(?:/mnt)?|valohai/(?:inputs|outputs)|outputs?|data|home/[^/]+|root|mnt|tmp)(?:/|$)"
)
"""Folders of hosted platforms and of people's machines, which say nothing of what lies in them."""
_WRITTEN_TO: Final = re.compile(r"/(?:kaggle/working|mnt/outputs?|outputs?|models?|results?|checkpoints?|logs?|artifacts?|exports?)(?:/|$)")
_HOSTED: Final = {"model": "SM_MODEL_DIR", "output": "SM_OUTPUT_DATA_DIR", "checkpoints": "AIP_CHECKPOINT_DIR"}
_LONGEST: Final = 200
_NEWEST: Final = 16 * 1024
"""Characters of a traceback, from its end, in which the script's own words are looked for."""
_CANDIDATES: Final = 2000
"""Files whose names are compared with one that is missing."""
_LIKE: Final = 0.8


@dataclasses.dataclass(frozen=True, slots=True)
class _Complaint:
    """What the system has against a file: `path` is the file as the script named it, empty if the exception does not say."""

    kind: _Kind
    path: str


def _complaint_of(found: Evidence) -> _Complaint | None:
    name = found.type.rpartition(".")[2]
    text = found.message
    number = _ERRNO.search(text)
    kind = _BY_NUMBER.get(found.errno or (int(number[1][:4]) if number else 0))
    if kind is None and name in _ABOUT_FILES:
        kind = next((each for each in _Kind if re.search(each.value, text)), _Kind.MISSING if _ABSENT.search(text) else None)
    if kind is None and _ABSENT_OF_ANY_TYPE.search(text):
        kind = _Kind.MISSING
    if kind is None:
        return None
    path = next((match[1] for pattern in _PATHS if (match := pattern.search(text))), "")
    return _Complaint(kind, path.rstrip(".") or path)


def _writes(found: Evidence, complaint: _Complaint) -> bool:
    """Whether the script wanted to write, as far as the exception and its last lines of code tell."""
    if found.errno == errno.EROFS or "Read-only file system" in found.message or _WRITTEN_TO.match(complaint.path):
        return True
    return bool(_WRITES.search(found.traceback[-_NEWEST:])) or "non-existent directory" in found.message


def _other_store(found: Evidence, setting: Setting, complaint: _Complaint | None) -> str:
    """Tell of an address of a store: the script has no keys, and the job's bucket is a folder."""
    spoken = f"{found.type}: {found.message}"
    address = _REMOTE.search(found.message)
    if not (_NO_WAY_THERE.search(spoken) or (address and complaint)):
        return ""
    # Libraries ask for what is below or above the address; the script's own words name it whole.
    own = [match for text in (*setting.argv, found.traceback[-_NEWEST:]) for match in _REMOTE.finditer(text)]
    if address is not None:
        own = [each for each in own if each[0].startswith(address[0]) or address[0].startswith(each[0])] or [address]
    if not own:
        return ""
    address = own[0]
    shown, writes = address[0][:_LONGEST], bool(_WRITES.search(found.traceback[-_NEWEST:]))
    why = "the script has no keys, and the job's bucket is a folder for it"
    if not address["scheme"].startswith("s3"):
        copy = "copy it into the job's bucket, name it in spec.inputs and read ${inputs.NAME}"
        return f"Instead of {shown}, {'write to ${bucket}/…, given as an argument' if writes else copy}: {why}."
    bucket, _, key = address["at"].lstrip(":/").partition("/")
    for root, place in (("bucket", setting.storage), ("datasets", setting.datasets)):
        if place is not None and place.bucket == bucket and key.startswith(place.prefix):
            ours = f"${{{root}}}/{key.removeprefix(place.prefix)}"[:_LONGEST]
            return f"Write {ours} as the argument, in place of {shown}: {why}."
    if writes:
        return f"Write to ${{bucket}}/…, given as an argument, in place of {shown}: {why}."
    if setting.storage is not None and setting.storage.bucket == bucket:
        return f"Name {shown} in spec.inputs and read ${{inputs.NAME}}: {why}, which begins at {setting.storage.prefix!r}."
    return (
        f"Copy {shown} into the job's bucket, name it in spec.inputs and read ${{inputs.NAME}}; or set spec.storage.secretName to the "
        f"Secret of that bucket: {why}."
    )


def _shared_memory(found: Evidence, setting: Setting, _complaint: _Complaint | None) -> str:
    """Tell of a full `/dev/shm`, where a worker dies by SIGBUS and its pool breaks."""
    return more_shared_memory(setting) if out_of_shared_memory(found, setting) else ""


def _opt_ml(_found: Evidence, setting: Setting, complaint: _Complaint | None) -> str:
    """Tell of a folder of a hosted platform that is not made for code that puts its name together, nor without a cluster."""
    if complaint is None or not f"{complaint.path}/".startswith(f"{hosted.FOLDER}/"):
        return ""
    _, _, rest = complaint.path.partition(f"{hosted.FOLDER}/")
    first, _, more = rest.partition("/")
    if rest.startswith("input/data/"):
        channel = more.partition("/")[2].partition("/")[0][:_LONGEST]
        variable = f"SM_CHANNEL_{re.sub(r'[^A-Z0-9]', '_', channel.upper())}"
        also = f", which is also {hosted.FOLDER}/input/data/{channel}" * setting.in_pod
        return f"Declare the data in spec.inputs as `name: {channel}` and read the folder that {variable} names{also}."
    if first == "input":
        return "Give what the script reads there in spec.args: no job has such a file."
    if first not in _HOSTED:
        return f"Write to the folder that SM_OUTPUT_DATA_DIR names: {hosted.FOLDER} has model, output/data, checkpoints and input/data."
    if not setting.in_pod:
        return f"Use the folder that the variable {_HOSTED[first]} names: there is no {hosted.FOLDER} without a cluster."
    return (
        f"Use the folder that the variable {_HOSTED[first]} names, or write {hosted.FOLDER}/{first} in one piece: "
        "it is made where code, arguments or spec.env say so."
    )


def _in_bucket(found: Evidence, setting: Setting, _complaint: _Complaint | None) -> str:
    """Tell of what the script looked for in the bucket and was not fetched, or of what was there before and in its way."""
    missing = found.type.endswith("NotFoundError")
    there = found.type.endswith("ExistsError") or "already exists" in found.message
    bucket = setting.workspace / Path(contract.BUCKET).name
    name = re.search(rf"{re.escape(str(bucket))}/([^\s'\";:,]+)", found.message) if missing or there else None
    if name is None:
        return ""
    key = f"${{bucket}}/{name[1][:300]}"
    if there:
        return (
            f"If {key} was there when the script started: for an argument with / at its end the folder is made, so leave the / out; "
            "and what earlier runs have left is fetched, unless spec.outputs names it."
        )
    near = _near(name[1], setting)
    also = f"Did you mean {near}, which is there? " if near else ""
    path, arguments = f"{bucket}/{name[1]}", [each.rpartition("=")[2] for each in setting.argv]
    if _WRITES.search(found.traceback[-_NEWEST:]) and not near:
        into = next((each for each in arguments if path.startswith(f"{each}/")), "")
        slash = f", or write the argument as {_key(into, bucket)}/, with a / at its end" if into else ""
        return f"Make the folder first, with os.makedirs{slash}: {key.rpartition('/')[0]} is not there when the script starts."
    if path in arguments:
        return f"{also}Upload it, or correct the argument: nothing was at {key} before the start."
    return (
        f"{also}{key} was not fetched: of the bucket the script finds what an argument names whole (${{bucket}} alone "
        "names nothing) or spec.inputs names. Name it in one of them; if one does, check the key (capitals count). "
        "A folder that the script writes to it has to make."
    )


def _key(path: str, bucket: Path) -> str:
    return f"${{bucket}}{path.removeprefix(str(bucket))}"


def _folder(found: Evidence, setting: Setting, _complaint: _Complaint | None) -> str:
    """Tell of an input that was opened as if it were a file: each is a folder of its own, also of one object."""
    named = re.search(rf"{re.escape(str(setting.workspace))}/inputs/([^\s/'\";:,]+)/?(?![^\s'\";:,])", found.message)
    if found.type != "IsADirectoryError" or named is None:
        return ""
    place = f"${{inputs.{named[1][:_LONGEST]}}}"
    below = [each for each in setting.files if each.startswith(f"inputs/{named[1]}/")]
    return f"Write {_shown(below[0])[:_LONGEST] if len(below) == 1 else f'{place}/NAME'} in place of {place}, which is a folder."


def _version_1(found: Evidence, setting: Setting, _complaint: _Complaint | None) -> str:
    """Tell of a name of TensorFlow 1 that the runtime's TensorFlow does not have."""
    named = re.search(r"module 'tensorflow(?:\._api\.v2)?((?:\.\w+)*)' has no attribute '(\w+)'", found.message)
    advice = setting.on_version_1(f"tensorflow{named[1]}.{named[2]}") if named is not None else ""
    return f"{advice[0].upper()}{advice[1:]}." if advice else ""


def _hides(found: Evidence, setting: Setting, _complaint: _Complaint | None) -> str:
    """Tell of a file of the user's that another module finds in the place of the one that it imports."""
    named = re.search(r"partially initialized module '(\w+)", found.message)
    if named is None:
        return ""
    own = [each.removeprefix("code/") for each in setting.files if re.fullmatch(r"code/\w+\.py", each)]
    hiding = [each for each in own if each.removesuffix(".py") in sys.stdlib_module_names | {named[1]}]
    # The script itself comes first where it is one of them.
    file = next((each for each in hiding if each == found.file), next(iter(hiding), ""))
    return f"Rename {file}, such as to my_{file}: another module imports it in the place of the one of that name." if file else ""


def _slip(found: Evidence, setting: Setting, _complaint: _Complaint | None) -> str:
    """Tell of a missing file whose name is almost that of an object of the bucket: with an argument it may have been an output."""
    if not found.type.endswith("NotFoundError"):
        return ""
    named = [path for path in setting.near if re.search(rf"{re.escape(path)}(?![\w.-])", found.message)]
    if not named:
        return ""
    path = max(named, key=len)
    key = f"${{bucket}}{path.removeprefix(str(setting.workspace / Path(contract.BUCKET).name))}"
    return f"Write {setting.near[path]} into the argument: nothing was at {key} before the start, and that lies beside it."


def _only_read(_found: Evidence, setting: Setting, complaint: _Complaint | None) -> str:
    """Tell of inputs and data sets that the script wanted to change, or in which something else lies."""
    below = _below(complaint.path, setting.workspace) if complaint else ""
    if complaint is None or not below.startswith(("inputs/", "datasets/")):
        return ""
    if complaint.kind is _Kind.DENIED:
        what = f"${{inputs.{below.split('/')[1]}}}" if below.startswith("inputs/") else "${datasets}"
        return f"Write to ${{bucket}}/…, given as an argument: {what} is only read."
    near = _near(below, setting) if complaint.kind is _Kind.MISSING else ""
    return f"Did you mean {near}? {_shown(below)} is not there." if near else ""


def _no_program(found: Evidence, _setting: Setting, complaint: _Complaint | None) -> str:
    """Tell of a program that the image does not have."""
    if complaint is None or complaint.kind is not _Kind.MISSING or "_execute_child" not in found.traceback:
        return ""
    return f"Do without the program {complaint.path[:_LONGEST]!r}, or use an image that has it: the runtimes hold Python and its packages."


def _checkpoint(found: Evidence, setting: Setting, _complaint: _Complaint | None) -> str:
    """Tell of a checkpoint that is somewhere else, or nowhere."""
    if "load save_path when it is None" in found.message:
        return (
            "Name the folder of the checkpoint in an argument, ${bucket}/FOLDER/ with the / at its end, or in spec.checkpoints.path: "
            "tf.train.latest_checkpoint found none where it looked."
        )
    named = re.search(r"(?:matching files for|not a valid checkpoint:) (\S+)", found.message)
    if named is None:
        return ""
    near = _near(f"{named[1]}.index", setting, like=1.0).removesuffix(".index")
    use = f"Restore from {near}" if near else "Restore from ${bucket}/FOLDER/NAME, the checkpoint's name without an ending"
    return f"{use}, given as an argument: no files of a checkpoint {named[1][:_LONGEST]} are there."


def _elsewhere(found: Evidence, setting: Setting, complaint: _Complaint | None) -> str:
    """Tell of a path that is not below the workspace: nothing lies there, and what is not read-only ends with the pod."""
    if complaint is None or complaint.kind not in (_Kind.MISSING, _Kind.DENIED) or not complaint.path.startswith("/"):
        return ""
    path = complaint.path[:_LONGEST]
    if "shared object" in found.message or path.startswith(_SYSTEM) or _below(path, setting.workspace):
        return ""
    key = (_FOREIGN.sub("", path, count=1) if _FOREIGN.match(path) else path).strip("/") or path.rstrip("/").rpartition("/")[2]
    if _writes(found, complaint):
        return (
            f"Write to ${{bucket}}/{key}, given as an argument: {path} is no place of the job, and what is below ${{bucket}} is published. "
            "What need not be kept can lie below tempfile.gettempdir()."
        )
    return _read_instead(path, key, setting)


def _beside(found: Evidence, setting: Setting, complaint: _Complaint | None) -> str:
    """Tell of a path relative to the script, beside which nothing of that name lies."""
    if complaint is None or complaint.kind is not _Kind.MISSING or not complaint.path or complaint.path.startswith("/"):
        return ""
    path = complaint.path[:_LONGEST]
    if ("/" not in path and "." not in path) or "shared object" in found.message:
        return ""
    if _writes(found, complaint):
        return f"Write to ${{bucket}}/{path}, given as an argument: the script has no such folder beside it."
    return _read_instead(path, path, setting)


def _read_instead(path: str, key: str, setting: Setting) -> str:
    near = _near(path, setting)
    if near and not near.startswith("${"):
        return f"Open {near!r}, which lies beside the script: there is no {path}."
    if near:
        return f"Use an argument, {near}, and read what it names: that file was fetched, {path} is not there."
    return (
        f"Use an argument, ${{bucket}}/{key}, and read what it names; or name the data in spec.inputs and read ${{inputs.NAME}}: "
        f"{path} is not there, the script finds only what the job names. A file of the code belongs into spec.dependencies.files."
    )


def _crossed(_found: Evidence, _setting: Setting, complaint: _Complaint | None) -> str:
    """Tell of a file that was to be renamed into another file system."""
    if complaint is None or complaint.kind is not _Kind.CROSSED:
        return ""
    return (
        "Make the file with `tempfile`, without naming /tmp, or beside its target; or use shutil.move: "
        "a file cannot be renamed from one file system, such as /tmp, into another."
    )


def _full(_found: Evidence, setting: Setting, complaint: _Complaint | None) -> str:
    """Tell of a disk that is full though the workspace is not."""
    if complaint is None or complaint.kind is not _Kind.FULL:
        return ""
    return (
        "Write less, or have room made on the node's disk: it, or a quota on it, is full, although spec.resources.workspace "
        f"({_mebibytes(setting.plan.workspace_bytes)}) is not used up."
        if setting.in_pod
        else "Write less, or make room on this machine's disk: it, or a quota on it, is full."
    )


def _many_open(_found: Evidence, _setting: Setting, complaint: _Complaint | None) -> str:
    """Tell of more open files than a process may have."""
    if complaint is None or complaint.kind is not _Kind.MANY_OPEN:
        return ""
    return "Close files after use, or use fewer workers, each of which opens the data for itself: a process may have only so many open."


def _memory(found: Evidence, _setting: Setting, _complaint: _Complaint | None) -> str:
    """Tell of memory that was refused. TensorFlow's exception may also mean a full disk; its text tells."""
    name = found.type.rpartition(".")[2]
    refused = name == "ResourceExhaustedError" and re.search(r"\bOOM\b|allocate memory|out of memory", found.message, re.IGNORECASE)
    if refused and re.search(r"\bGPU\b", found.message):
        return "The memory of the GPU is full: use a smaller batch or a smaller model."
    if refused or name in ("MemoryError", "_ArrayMemoryError"):
        return "Memory was refused: use a smaller batch, or read data in pieces, or raise spec.resources.memory."
    return ""


def _worker(found: Evidence, _setting: Setting, _complaint: _Complaint | None) -> str:
    """Tell of a worker process that died without an exception."""
    if not _DIED.search(f"{found.type}: {found.message}"):
        return ""
    return (
        "Look in the log for the last that a worker process printed: it died without an exception. "
        "Fewer workers need less of spec.resources.memory."
    )


def _other_processes(found: Evidence, setting: Setting, _complaint: _Complaint | None) -> str:
    """Tell of processes that TensorFlow could not reach, because they are no part of the job."""
    unreached = found.type.rpartition(".")[2] in ("UnavailableError", "DeadlineExceededError", "AbortedError", "CancelledError")
    return foreign_cluster(setting) if unreached or "TF_CONFIG" in found.message or "ClusterSpec" in found.message else ""


def _distributed(found: Evidence, setting: Setting, _complaint: _Complaint | None) -> str:
    """Tell of what cannot train on several replicas, seen with TensorFlow 2.15 and 2.21 and Keras 3.15."""
    if not setting.plan.peers:
        return ""
    keras = (
        "Take Keras from tf.keras and set TF_USE_LEGACY_KERAS=1 in spec.env, which gives tf_keras, or write a loop of your own: "
        "fit of Keras 3 trains on one replica only."
    )
    if "(PerReplica:" in found.message or "ClusterCoordinator.create_per_worker_dataset" in found.message:
        return keras
    if "ps" in setting.plan.peers and found.type.endswith("NotFoundError") and _PART_OF_CHECKPOINT.search(found.message):
        return (
            "Have the chief write checkpoints: an Estimator's tf.train.Scaffold(saver=tf.train.Saver(sharded=False)). By default each "
            "parameter server writes its part onto its own disk, and the chief looks for it on its own."
        )
    return ""


RULES: Final[tuple[Rule, ...]] = (
    _distributed,
    _other_store,
    _shared_memory,
    _other_processes,
    _version_1,
    _hides,
    _folder,
    _opt_ml,
    _checkpoint,
    _no_program,
    _slip,
    _in_bucket,
    _only_read,
    _elsewhere,
    _beside,
    _crossed,
    _full,
    _many_open,
    _memory,
    _worker,
)


def _near(path: str, setting: Setting, like: float = _LIKE) -> str:
    """Return, as the user would write it, the file that has the same name as one that is missing, or a name so `like` it; else nothing."""
    import difflib

    path = path[-_LONGEST:]
    wanted = path.rstrip("/").rpartition("/")[2].lower()
    by_name: dict[str, list[str]] = {}
    for each in setting.files:
        by_name.setdefault(each.rpartition("/")[2].lower(), []).append(each)
    names = [wanted] if wanted in by_name else difflib.get_close_matches(wanted, islice(by_name, _CANDIDATES), 1, like)
    candidates = [each for name in names for each in by_name[name][:_CANDIDATES]]
    # Of several the one whose folders are most like those of the path.
    found = max(candidates, key=lambda each: (difflib.SequenceMatcher(None, each[-_LONGEST:], path).ratio(), each), default="")
    return _shown(found)[:_LONGEST] if found else ""


def _shown(below: str) -> str:
    """Return a path below the workspace as the user would write it."""
    top, _, rest = below.partition("/")
    if top == "inputs":
        name, _, rest = rest.partition("/")
        return f"${{inputs.{name}}}/{rest}"
    return f"${{{top}}}/{rest}" if top in ("bucket", "datasets") else rest


def _below(path: str, workspace: Path) -> str:
    return path.removeprefix(f"{workspace}/") if path.startswith(f"{workspace}/") else ""


def _mebibytes(number: int) -> str:
    gibi = number / 1024**3
    return f"{gibi:.0f}Gi" if gibi >= 1 and gibi == int(gibi) else f"{number / 1024**2:.0f}Mi"
