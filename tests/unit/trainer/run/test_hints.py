"""One hint for one mistake: what ends a script, in the words of the libraries of the runtimes, and what the user reads first."""

from __future__ import annotations

import dataclasses
import errno
import signal
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.layout import Layout
from tftrainer.messages.contract import Plan, Reason, Script
from tftrainer.messages.handover import Place
from tftrainer.run import surroundings
from tftrainer.run.evidence import Evidence
from tftrainer.run.hints import Setting, hint
from tftrainer.run.outcome import Ending, Stop, judge
from tftrainer.run.shared_memory import Gauge, SharedMemory, look

PLAN = Plan(namespace="n", job="j", uid="u", runtime="tf2", script=Script(name="t.py"), active_deadline_seconds=9)
CODE, DEPS = Path("/workspace/code"), Path("/workspace/deps")
FULL = SharedMemory(64 << 20, 5 << 20, 200 << 20)
ROOM = SharedMemory(64 << 20, 5 << 20, 30 << 20)
SETTING = Setting(
    CODE.parent,
    PLAN,
    files=(
        "code/train.py",
        "code/labels.txt",
        "bucket/demo/rows.csv",
        "bucket/demo/other.csv",
        "inputs/titanic/train.csv",
        "datasets/bert/bert_model.ckpt.index",
    ),
    storage=Place(bucket="mine"),
    datasets=Place(bucket="library", prefix="lib/"),
)
SHARED = "tensorflow.python.framework.errors_impl"


def given_line(kind: str, message: str, line: str = "", number: int | None = None) -> Evidence:
    """Return an exception whose traceback ends with a line of the script's own."""
    trace = f'Traceback (most recent call last):\n  File "/workspace/code/train.py", line 3, in <module>\n    {line}\n{kind}: {message}\n'
    return Evidence(kind, message, errno=number, file="train.py", line=3, traceback=trace)


NODE = "{{function_node __wrapped__ReadFile_device_/job:localhost/replica:0/task:0/device:CPU:0}} "
GRAPH = "Graph execution error:\n\nDetected at node 'save/SaveV2' defined at (most recent call last):\nNode: 'save/SaveV2'\n"

ROWS = [
    # written where nothing is kept
    (
        "OSError",
        "[Errno 30] Read-only file system: '/outputs'",
        "os.makedirs('/outputs')",
        "Write to ${bucket}/outputs, given as an argument",
    ),
    (
        "FileNotFoundError",
        "[Errno 2] No such file or directory: '/models/x.keras'",
        "m.save('/models/x.keras')",
        "Write to ${bucket}/models/x.keras",
    ),
    (f"{SHARED}.PermissionDeniedError", "/models; Read-only file system", "model.export('/models/x')", "Write to ${bucket}/models"),
    (
        f"{SHARED}.PermissionDeniedError",
        f"{GRAPH}/models; Read-only file system\n\t [[{{{{node save/SaveV2}}}}]]",
        "saver.save(s)",
        "Write to ${bucket}/models",
    ),
    (
        f"{SHARED}.PermissionDeniedError",
        f"{NODE}/logs; Read-only file system [Op:CreateSummaryFileWriter] name: ",
        "fit()",
        "Write to ${bucket}/logs",
    ),
    (f"{SHARED}.NotFoundError", "/outputs/a; No such file or directory", "w = tf.io.TFRecordWriter('/outputs/a')", "Write to ${bucket}/a,"),
    ("OSError", "Cannot save file into a non-existent directory: '/mnt/output'", "df.to_csv(p)", "Write to ${bucket}/output,"),
    (
        "FileNotFoundError",
        "[Errno 2] No such file or directory: '/kaggle/working/sub.csv'",
        "f = open(path, 'w')",
        "Write to ${bucket}/sub.csv,",
    ),
    (
        "FileNotFoundError",
        "[Errno 2] No such file or directory: '/content/drive/MyDrive/m.h5'",
        "open(p, 'wb')",
        "Write to ${bucket}/m.h5,",
    ),
    ("OSError", "[Errno 30] Read-only file system: '/dbfs'", "os.makedirs('/dbfs/mnt/m')", "Write to ${bucket}/"),
    (
        "OSError",
        "[Errno 30] Unable to synchronously create file (unable to open file: name = '/models/x.h5', errno = 30, "
        "error message = 'Read-only file system', flags = 13, o_flags = 242)",
        "m.save_weights(p)",
        "Write to ${bucket}/models/x.h5,",
    ),
    (
        "FileNotFoundError",
        "[Errno 2] No such file or directory: 'models/x.keras'",
        "m.save('models/x.keras')",
        "Write to ${bucket}/models/x.keras",
    ),
    (
        "OSError",
        "[Errno 30] Read-only file system: '/workspace/inputs/titanic/new.csv'",
        "open(p, 'w')",
        "Write to ${bucket}/…, given as an argument: ${inputs.titanic} is only read",
    ),
    (
        "OSError",
        "[Errno 30] Read-only file system: '/workspace/datasets/a'",
        "os.mkdir(p)",
        "Write to ${bucket}/…, given as an argument: ${datasets} is only read",
    ),
    # read where nothing is
    (
        "FileNotFoundError",
        "[Errno 2] No such file or directory: 'data/rows.csv'",
        "pd.read_csv('data/rows.csv')",
        "Use an argument, ${bucket}/demo/rows.csv, and",
    ),
    (
        "FileNotFoundError",
        "[Errno 2] No such file or directory: 'data/row.csv'",
        "open('data/row.csv')",
        "Use an argument, ${bucket}/demo/rows.csv, and",
    ),
    (
        "FileNotFoundError",
        "[Errno 2] No such file or directory: 'data/nothing.npz'",
        "np.load(p)",
        "Use an argument, ${bucket}/data/nothing.npz, and read what",
    ),
    ("FileNotFoundError", "[Errno 2] No such file or directory: 'data/train'", "ImageDataGenerator()", "Use an argument, ${"),
    (
        "FileNotFoundError",
        "[Errno 2] No such file or directory: 'conf/labels.txt'",
        "open(p)",
        "Open 'labels.txt', which lies beside the script",
    ),
    (
        "FileNotFoundError",
        "[Errno 2] No such file or directory: '/kaggle/input/titanic/train.csv'",
        "read_csv(p)",
        "Use an argument, ${inputs.titanic}/train.csv, and",
    ),
    (
        "FileNotFoundError",
        "[Errno 2] No such file or directory: '/mnt/data/a/b.npz'",
        "np.load(p)",
        "Use an argument, ${bucket}/a/b.npz, and read",
    ),
    (
        "FileNotFoundError",
        "[Errno 2] No such file or directory: '/gcs/my-bucket/d/b.npz'",
        "np.load(p)",
        "Use an argument, ${bucket}/d/b.npz,",
    ),
    (
        f"{SHARED}.NotFoundError",
        f"{NODE}data/rows.csv; No such file or directory [Op:ReadFile]",
        "tf.io.read_file(p)",
        "Use an argument, ${bucket}/demo/rows.csv,",
    ),
    (f"{SHARED}.NotFoundError", "Could not find directory /mnt/data", "tf.io.gfile.listdir(p)", "Use an argument, ${bucket}/"),
    (
        f"{SHARED}.InvalidArgumentError",
        "Expected 'tf.Tensor(False)' to be true. Summarized data: b'No files matched pattern: data/*.csv'",
        "list_files(p)",
        "Use an argument, ${bucket}/data/*.csv",
    ),
    (
        "ValueError",
        "File not found: filepath=model.keras. Please ensure the file is an accessible `.keras` zip file.",
        "load_model(p)",
        "Use an argument, ${bucket}/model.keras,",
    ),
    ("OSError", "No file or directory found at /data/m.h5", "load_model(p)", "Use an argument, ${bucket}/m.h5,"),
    (
        "OSError",
        "SavedModel file does not exist at: /data/m/{saved_model.pbtxt|saved_model.pb}",
        "tf.saved_model.load(p)",
        "Use an argument, ${bucket}/m,",
    ),
    ("PermissionError", "[Errno 13] Permission denied: '/home/me/data.csv'", "open(p)", "Use an argument, ${bucket}/data.csv,"),
    (
        "FileNotFoundError",
        "[Errno 2] No such file or directory: '/workspace/inputs/titanic/trains.csv'",
        "open(p)",
        "Did you mean ${inputs.titanic}/train.csv?",
    ),
    (
        "FileNotFoundError",
        "[Errno 2] No such file or directory: '/workspace/bucket/demo/row.csv'",
        "open(p)",
        "Did you mean ${bucket}/demo/rows.csv, which is there?",
    ),
    (
        "FileNotFoundError",
        "[Errno 2] No such file or directory: '/workspace/bucket/x.npz'",
        "np.load(p)",
        "${bucket}/x.npz was not fetched",
    ),
    # the hosted platform that works
    (
        "FileNotFoundError",
        "[Errno 2] No such file or directory: '/opt/ml/model/m.h5'",
        "m.save(p)",
        "Use the folder that the variable SM_MODEL_DIR names, or write /opt/ml/model in one piece",
    ),
    (
        "FileNotFoundError",
        "[Errno 2] No such file or directory: '/opt/ml/input/data/train/a.csv'",
        "open(p)",
        "Declare the data in spec.inputs as `name: train`",
    ),
    (
        "FileNotFoundError",
        "[Errno 2] No such file or directory: '/opt/ml/input/config/hyperparameters.json'",
        "open(p)",
        "Give what the script reads there in spec.args",
    ),
    (
        "FileNotFoundError",
        "[Errno 2] No such file or directory: '/opt/ml/failure'",
        "open(p, 'w')",
        "Write to the folder that SM_OUTPUT_DATA_DIR names",
    ),
    # other stores
    (
        f"{SHARED}.UnimplementedError",
        "File system scheme 's3' not implemented (file: 's3://mine/reports/24/rows.csv')",
        "GFile(a)",
        "Write ${bucket}/reports/24/rows.csv as the argument",
    ),
    (
        f"{SHARED}.UnimplementedError",
        f"{NODE}File system scheme 's3' not implemented (file: 's3://library/lib/x') [Op:ReadFile]",
        "GFile(a)",
        "Write ${datasets}/x as the argument",
    ),
    (
        f"{SHARED}.UnimplementedError",
        "File system scheme 's3' not implemented (file: 's3://mine/x/variables')",
        "m.export('s3://mine/x')",
        "Write ${bucket}/x as the argument, in place of s3://mine/x:",
    ),
    (
        f"{SHARED}.UnimplementedError",
        "File system scheme 's3' not implemented (file: 's3://mine')",
        "m.save('s3://mine/x.h5')",
        "Write ${bucket}/x.h5 as the argument",
    ),
    (
        "ImportError",
        "`Import fsspec` failed.  Use pip or conda to install the fsspec package.",
        "pd.read_csv('s3://mine/a.csv')",
        "Write ${bucket}/a.csv as the argument",
    ),
    ("FileNotFoundError", "[Errno 2] No such file or directory: 's3://mine/a.csv'", "open(p)", "Write ${bucket}/a.csv as the argument"),
    (
        "botocore.exceptions.NoCredentialsError",
        "Unable to locate credentials",
        "get('s3://mine/a.csv')",
        "Write ${bucket}/a.csv as the argument",
    ),
    (
        f"{SHARED}.UnimplementedError",
        "File system scheme 's3' not implemented (file: 's3://theirs/x')",
        "GFile(a)",
        "Copy s3://theirs/x into the job's bucket, name it in spec.inputs",
    ),
    (
        f"{SHARED}.UnimplementedError",
        "File system scheme 's3' not implemented (file: 's3://theirs/x')",
        "m.export(p)",
        "Write to ${bucket}/…, given as an argument, in place of s3://theirs/x",
    ),
    (
        f"{SHARED}.UnimplementedError",
        "File system scheme 'hdfs' not implemented (file: 'hdfs://nn/a')",
        "GFile(a)",
        "Instead of hdfs://nn/a, copy it into the job's bucket",
    ),
    ("ImportError", "`Import fsspec` failed.", "pd.read_csv('gs://b/a.csv')", "Instead of gs://b/a.csv, copy it into"),
    ("FileNotFoundError", "[Errno 2] No such file or directory: 'dbfs:/mnt/a.csv'", "open(p)", "Instead of dbfs:/mnt/a.csv, copy it into"),
    # checkpoints
    ("ValueError", "Can't load save_path when it is None.", "saver.restore(s, None)", "Name the folder of the checkpoint in an argument"),
    (
        "ValueError",
        "The passed save_path is not a valid checkpoint: /home/u/bert_model.ckpt",
        "saver.restore(s, p)",
        "Restore from ${datasets}/bert/bert_model.ckpt, given as",
    ),
    (
        f"{SHARED}.NotFoundError",
        "Unsuccessful TensorSliceReader constructor: Failed to find any matching files for /home/u/model.ckpt-7\nPlease",
        "r()",
        "Restore from ${bucket}/FOLDER/NAME",
    ),
    # the machine
    (
        "OSError",
        "[Errno 18] Invalid cross-device link: '/tmp/a' -> '/workspace/bucket/a'",
        "os.rename(a, b)",
        "Make the file with `tempfile`",
    ),
    (
        "OSError",
        "[Errno 122] Disk quota exceeded: '/workspace/bucket/m.h5'",
        "m.save(p)",
        "Write less, or have room made on the node's disk",
    ),
    (
        "OSError",
        "[Errno 24] Too many open files: '/workspace/inputs/a/1.h5'",
        "h5py.File(p)",
        "Close files after use, or use fewer workers",
    ),
    (f"{SHARED}.ResourceExhaustedError", "/workspace/bucket/events.out.tfevents.1; Too many open files", "w()", "Close files after use"),
    (
        "concurrent.futures.process.BrokenProcessPool",
        "A process in the process pool was terminated abruptly while the future was running",
        "r()",
        "Look in the log for the last that a worker",
    ),
    (
        "RuntimeError",
        "DataLoader worker (pid 125) is killed by signal: Bus error. ",
        "next(it)",
        "Look in the log for the last that a worker",
    ),
    # nothing is known
    ("KeyError", "'/models/x'", "d['/models/x']", ""),
    ("ValueError", "bad path '/outputs/x'", "f()", ""),
    ("OSError", "libcuda.so.1: cannot open shared object file: No such file or directory", "ctypes.CDLL(n)", ""),
    ("FileNotFoundError", "[Errno 2] No such file or directory: '/usr/lib/x'", "open(p)", ""),
    ("ImportError", "Unable to find a usable engine; tried using: 'pyarrow', 'fastparquet'.", "pd.read_parquet('a')", ""),
    ("ConnectionError", "s3://mine/a timed out", "get()", ""),
]


@pytest.mark.parametrize(("kind", "message", "line", "start"), ROWS)
def test_what_a_script_stumbles_over_has_one_hint_that_begins_with_the_remedy(kind: str, message: str, line: str, start: str) -> None:
    found = hint(given_line(kind, message, line), SETTING)
    assert found.startswith(start), found
    assert bool(found) == bool(start)
    assert len(found) < 700


def test_a_program_that_the_image_lacks_is_no_file_of_the_bucket() -> None:
    found = given_line(
        "FileNotFoundError", "[Errno 2] No such file or directory: 'nvidia-smi'", "subprocess.run(['nvidia-smi'])", errno.ENOENT
    )
    trace = found.traceback.replace("FileNotFound", '  File "/usr/lib/subprocess.py", line 1, in _execute_child\nFileNotFound', 1)
    assert hint(msgspec.structs.replace(found, traceback=trace), SETTING).startswith("Do without the program 'nvidia-smi'")


def test_an_address_in_an_argument_tells_what_a_library_does_not_say() -> None:
    setting = dataclasses.replace(SETTING, argv=("--train=s3://mine/a.csv",))
    found = hint(given_line("ImportError", "`Import fsspec` failed.", "pd.read_csv(a.train)"), setting)
    assert found.startswith("Write ${bucket}/a.csv as the argument, in place of s3://mine/a.csv")


def test_a_key_outside_of_the_secrets_prefix_is_named_as_an_input() -> None:
    setting = dataclasses.replace(SETTING, storage=Place(bucket="mine", prefix="team/"))
    found = given_line("UnimplementedError", "File system scheme 's3' not implemented (file: 's3://mine/all/a')", "GFile(a)")
    assert hint(found, setting).startswith("Name s3://mine/all/a in spec.inputs")
    found = given_line("UnimplementedError", "File system scheme 's3' not implemented (file: 's3://mine/team/a')", "GFile(a)")
    assert hint(found, setting).startswith("Write ${bucket}/a as the argument")


def test_without_a_cluster_opt_ml_is_told_by_its_variable() -> None:
    found = given_line("FileNotFoundError", "[Errno 2] No such file or directory: '/opt/ml/model/m.h5'", "m.save(p)")
    text = hint(found, dataclasses.replace(SETTING, in_pod=False))
    assert text == "Use the folder that the variable SM_MODEL_DIR names: there is no /opt/ml without a cluster."


@pytest.mark.parametrize(
    "ending",
    [
        Ending(0, signal.SIGBUS),
        Ending(1, record=given_line("OSError", "[Errno 28] No space left on device")),
        Ending(1, record=given_line("concurrent.futures.process.BrokenProcessPool", "terminated abruptly")),
        Ending(1, record=given_line("RuntimeError", "DataLoader worker (pid 125) is killed by signal: Bus error.")),
        Ending(1, record=given_line("RuntimeError", "unable to open shared memory object </torch_1> in read-write mode")),
        Ending(1, stderr="worker 3: Bus error (core dumped)\n"),
        Ending(249, stderr="Fatal Python error: Bus error\n\nThread 0x1 (most recent call first):\n\nsome other words\n"),
        Ending(1, stderr="worker died of SIGBUS\n"),
    ],
)
def test_a_full_shared_memory_is_named_with_its_field_and_size_and_is_not_where_it_had_room(ending: Ending) -> None:
    for shared, full in ((FULL, True), (ROOM, False), (SharedMemory(), False)):
        _, failure = judge(ending, PLAN, CODE, DEPS, dataclasses.replace(SETTING, shared=shared))
        assert failure is not None
        assert ("/dev/shm was full: its files were to hold 200Mi, it has 64Mi." in failure.message) == full
        assert ("Raise spec.resources.sharedMemory (now 64Mi" in failure.hint) == full


@pytest.mark.parametrize(
    "ending", [Ending(0, signal.SIGSEGV), Ending(1, record=given_line("KeyError", "'x'")), Ending(2, stderr="usage: t.py\n")]
)
def test_a_full_shared_memory_is_not_blamed_for_what_it_does_not_cause(ending: Ending) -> None:
    _, failure = judge(ending, PLAN, CODE, DEPS, dataclasses.replace(SETTING, shared=FULL))
    assert failure is not None
    assert "/dev/shm" not in failure.message + failure.hint


def test_no_space_at_a_path_of_shared_memory_needs_no_measurement() -> None:
    ending = Ending(1, record=given_line("OSError", "[Errno 28] No space left on device: '/dev/shm/cache.npy'", "np.save(p)", errno.ENOSPC))
    _, failure = judge(ending, PLAN, CODE, DEPS, SETTING)
    assert failure is not None
    assert failure.message.startswith("/dev/shm was full. ")
    assert failure.hint.startswith("Raise spec.resources.sharedMemory")


def test_a_script_that_prints_its_exception_and_ends_itself_has_the_same_hint() -> None:
    trace = given_line("FileNotFoundError", "[Errno 2] No such file or directory: '/mnt/data/b.npz'", "np.load(p)").traceback
    _, failure = judge(Ending(1, stderr=f"{trace}giving up\n"), PLAN, CODE, DEPS, SETTING)
    assert failure is not None
    assert failure.reason is Reason.SCRIPT_EXITED
    assert failure.hint.startswith("Use an argument, ${bucket}/b.npz,")


def test_a_job_that_waited_for_the_processes_of_tf_config_is_told_to_remove_it() -> None:
    waiting = dataclasses.replace(SETTING, foreign=("chief:2222", "worker-0:2222"))
    for ending in (Ending(143, stop=Stop.DEADLINE), Ending(1, record=given_line("UnavailableError", "failed to connect"))):
        _, failure = judge(ending, PLAN, CODE, DEPS, waiting)
        assert failure is not None
        assert failure.hint.startswith("Remove TF_CONFIG from the image, or from os.environ")
        assert "chief:2222, worker-0:2222" in failure.hint
        _, failure = judge(ending, PLAN, CODE, DEPS, SETTING)
        assert failure is not None
        assert "TF_CONFIG" not in failure.hint


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ('{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "chief", "index": 0}}', ("a:1", "b:1")),
        ('{"cluster": {"worker": {"0": "a:1", "1": "b:1"}}}', ("a:1", "b:1")),
        ('{"cluster": {"worker": ["localhost:1", "127.0.0.1:2"]}}', ()),
        ('{"cluster": {"worker": ["a:1"]}}', ()),
        ('{"cluster": {"worker": [["a"], 3]}}', ()),
        ('{"cluster": ["a:1", "b:1"]}', ()),
        ("{}", ()),
        ("not json", ()),
        ("", ()),
    ],
)
def test_only_a_cluster_of_several_processes_elsewhere_is_foreign(text: str, addresses: tuple[str, ...]) -> None:
    assert surroundings.foreign({"TF_CONFIG": text}) == addresses


DISTRIBUTED = {
    "a fit of Keras 3 on workers": (
        "ValueError",
        "Attempt to convert a value (PerReplica:{...}) with an unsupported type",
        "Take Keras from tf.keras",
    ),
    "one with parameter servers": (
        "ValueError",
        "pass this dataset to ClusterCoordinator.create_per_worker_dataset.",
        "Take Keras from tf.keras",
    ),
    "a checkpoint of which a server has a part": (
        "tensorflow.python.framework.errors_impl.NotFoundError",
        "/workspace/bucket/m/model.ckpt-0_temp; No such file or directory",
        "Have the chief write checkpoints",
    ),
}


@pytest.mark.parametrize(("kind", "message", "start"), DISTRIBUTED.values(), ids=DISTRIBUTED)
def test_what_cannot_train_on_several_replicas_is_told_with_what_can(kind: str, message: str, start: str) -> None:
    found = given_line(kind, message)
    peers = {"chief": ("a:2222",), "ps": ("b:2222",)}
    group = dataclasses.replace(SETTING, plan=msgspec.structs.replace(SETTING.plan, peers=peers))
    assert hint(found, group).startswith(start)
    assert not hint(found, SETTING).startswith(start)


@given(st.text(max_size=300))
def test_any_text_of_tf_config_is_read_without_an_error(text: str) -> None:
    surroundings.foreign({"TF_CONFIG": text})


@given(
    st.builds(Evidence, type=st.text(max_size=80), message=st.text(max_size=2000), traceback=st.text(max_size=1024)),
    st.sampled_from([each[1] for each in ROWS]),
    st.sampled_from([each[0] for each in ROWS]),
)
def test_any_exception_has_a_short_hint_or_none(found: Evidence, text: str, kind: str) -> None:
    for each in (found, Evidence(kind, text + found.message), Evidence(kind, found.message + text, traceback=found.message)):
        assert len(hint(each, SETTING)) < 1024


def test_the_files_of_a_run_are_found_up_to_a_limit(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for path in ("workspace/code/t.py", "workspace/inputs/a/x.csv", "workspace/bucket/d/y.csv", "workspace/.tmp/z"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    assert surroundings.files(layout) == ("code/t.py", "inputs/a/x.csv", "bucket/d/y.csv")
    assert surroundings.files(layout, entries=1) == ("code/t.py",)
    assert surroundings.files(layout, seconds=-1.0) == ()


def test_segments_that_are_made_and_gone_between_two_looks_are_measured(tmp_path: Path) -> None:
    gauge = Gauge(tmp_path)
    gauge.start()
    size = look(tmp_path).size
    until = time.monotonic() + 20
    while gauge._most.promised < 3 << 30 and time.monotonic() < until:
        with (tmp_path / "psm_1").open("wb") as file:
            file.truncate(3 << 30)
        (tmp_path / "psm_1").unlink()
    most = gauge.stop()
    assert (most.size, most.promised) == (size, 3 << 30)


def test_a_folder_that_is_not_there_is_never_full(tmp_path: Path) -> None:
    gauge = Gauge(tmp_path / "none")
    gauge.start()
    assert not gauge.stop().was_full


IN_BUCKET = "/workspace/bucket"
OF_THE_JOB = dataclasses.replace(
    SETTING,
    argv=(f"{IN_BUCKET}/demo/prices.parquet", f"--out={IN_BUCKET}/new"),
    on_version_1=lambda name: (
        "set spec.runtime: tf1, or change the script" if name in ("tensorflow.Session", "tensorflow.train.AdamOptimizer") else ""
    ),
    files=("code/code.py", "code/helpers.py", "inputs/rows/rows.csv", "inputs/many/a.csv", "inputs/many/b.csv"),
)


@pytest.mark.parametrize(
    ("kind", "message", "line", "told"),
    [
        (
            "FileNotFoundError",
            f"[Errno 2] No such file or directory: '{IN_BUCKET}/demo/prices.parquet'",
            "pd.read_parquet(sys.argv[1])",
            "Upload it, or correct the argument: nothing was at ${bucket}/demo/prices.parquet before the start.",
        ),
        (
            "FileNotFoundError",
            f"[Errno 2] No such file or directory: '{IN_BUCKET}/new/m.keras'",
            "model.save(os.path.join(args.out, 'm.keras'))",
            "Make the folder first, with os.makedirs, or write the argument as ${bucket}/new/, with a / at its end: ${bucket}/new is",
        ),
        (
            "FileNotFoundError",
            f"[Errno 2] No such file or directory: '{IN_BUCKET}/else/m.keras'",
            "model.save(path)",
            "Make the folder first, with os.makedirs: ${bucket}/else is not there when the script starts.",
        ),
        (
            "IsADirectoryError",
            "[Errno 21] Is a directory: '/workspace/inputs/rows'",
            "open(sys.argv[1])",
            "Write ${inputs.rows}/rows.csv in place of ${inputs.rows}, which is a folder.",
        ),
        (
            "IsADirectoryError",
            "[Errno 21] Is a directory: '/workspace/inputs/many/'",
            "open(sys.argv[1])",
            "Write ${inputs.many}/NAME in place of ${inputs.many}, which is a folder.",
        ),
        ("IsADirectoryError", "[Errno 21] Is a directory: '/workspace/inputs/rows/sub'", "open(path)", ""),
        (
            "AttributeError",
            "module 'tensorflow' has no attribute 'Session'",
            "with tf.Session() as session:",
            "Set spec.runtime: tf1, or change the script.",
        ),
        (
            "AttributeError",
            "module 'tensorflow._api.v2.train' has no attribute 'AdamOptimizer'",
            "tf.train.AdamOptimizer()",
            "Set spec.runtime: tf1, or change the script.",
        ),
        ("AttributeError", "module 'tensorflow' has no attribute 'Sesion'", "tf.Sesion()", ""),
        ("AttributeError", "module 'mylib' has no attribute 'Session'", "mylib.Session()", ""),
        (
            "AttributeError",
            "partially initialized module 'keras' has no attribute 'Sequential' (most likely due to a circular import)",
            "keras.Sequential()",
            "Rename code.py, such as to my_code.py: another module imports it in the place of the one of that name.",
        ),
        (
            "ImportError",
            "cannot import name 'x' from partially initialized module 'helpers' (most likely due to a circular import)",
            "from helpers import x",
            "Rename code.py",
        ),
    ],
)
def test_what_a_new_user_stumbles_over_is_told_with_its_remedy_first(kind: str, message: str, line: str, told: str) -> None:
    found = hint(given_line(kind, message, line), OF_THE_JOB)
    assert found.startswith(told) if told else found == ""
