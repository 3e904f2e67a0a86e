#!/usr/bin/env bash
# TensorBoard 2.21.0 with tensorboard-data-server 0.7.2: an event file that a newer one was renamed over is never read again.
#
# One would guess: what keeps a local folder in step with a bucket may download beside the file and rename, as careful tools do;
# TensorBoard, which reads again every few seconds, then shows the new points.
#
# What happens: the data server (--load_fast=true, and what TensorBoard takes by itself for a local folder) keeps the file open
# that it found first, and reads on at its end for ever. What is appended is shown; after a rename nothing is, though the name
# has a longer file with the same beginning, and nothing is logged. --load_fast=false, on the same files, follows.
#
# Output seen (the steps of one curve; the last line of each within 25 s):
#   --load_fast=true    start [1]   appended [1, 2]   renamed over it [1, 2]
#   --load_fast=false   start [1]   appended [1, 2]   renamed over it [1, 2, 3]
#
# Why it matters: boto3's download_file and minio's fget_object write beside the file and rename. Who looks at a training in a
# cluster through a folder that these keep in step sees a curve that stands still, and takes the training for stuck.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install -q --no-compile tensorboard==2.21.0 tensorboard-data-server==0.7.2

cat > "$work/watch.py" <<'PY'
import json, os, pathlib, socket, subprocess, sys, time, urllib.request

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

work = pathlib.Path(sys.argv[1])
fast = sys.argv[2]
folder = work / fast
folder.mkdir()


def written(steps):
    """An event file with a point at each of the steps, and where in it each record ends; the first record is the format's version."""
    writer = EventFileWriter(str(work / f"written-{fast}"))
    for step in range(1, steps + 1):
        writer.add_event(Event(wall_time=step, step=step, summary=Summary(value=[Summary.Value(tag="loss", simple_value=1 / step)])))
    writer.close()
    (file,) = (work / f"written-{fast}").iterdir()
    data, ends = file.read_bytes(), [0]
    while ends[-1] < len(data):
        ends.append(ends[-1] + 16 + int.from_bytes(data[ends[-1]:ends[-1] + 8], "little"))
    return data, ends


three, ends = written(3)
one, two = three[:ends[2]], three[:ends[3]]
event_file = folder / "events.out.tfevents.1.run"
event_file.write_bytes(one)
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
board = subprocess.Popen([sys.executable, "-m", "tensorboard.main", "--logdir", folder, f"--load_fast={fast}", "--reload_interval=1",
                          "--host=127.0.0.1", f"--port={port}"], stderr=subprocess.DEVNULL)


def steps_shown(wanted, seconds):
    """The steps that TensorBoard shows: as soon as they are the wanted ones, or those of the last look."""
    until, shown = time.monotonic() + seconds, []
    while shown != wanted and time.monotonic() < until:
        time.sleep(0.5)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/data/plugin/scalars/scalars?run=.&tag=loss", timeout=10) as answer:
                shown = [point[1] for point in json.load(answer)]
        except OSError:
            continue  # not started, or the run is not known yet
    return shown


try:
    seen = [steps_shown([1], 60)]
    with event_file.open("ab") as end:
        end.write(two[len(one):])
    seen.append(steps_shown([1, 2], 25))
    beside = folder / "part"
    beside.write_bytes(three)
    os.replace(beside, event_file)
    seen.append(steps_shown([1, 2, 3], 25))
    print("start {} appended {} renamed over it {}".format(*seen))
finally:
    board.terminate()
    board.wait()
PY

changed=0
check() { # LOAD_FAST EXPECTED
  local seen
  seen=$("$work/venv/bin/python" "$work/watch.py" "$work" "$1")
  echo "--load_fast=$1 $seen"
  [ "$seen" = "$2" ] || { echo "changed: expected $2"; changed=1; }
}
check true 'start [1] appended [1, 2] renamed over it [1, 2]'
check false 'start [1] appended [1, 2] renamed over it [1, 2, 3]'
exit "$changed"
