#!/usr/bin/env bash
# TensorFlow 2.21.0: once a MultiWorkerMirroredStrategy exists, SIGTERM does nothing, also where the program has a handler for it.
#
# One would guess: SIGTERM ends a Python program, or calls the handler that it has set with signal.signal().
#
# What happens: making the strategy puts a handler of TensorFlow's own in the place of whatever was there. It notes the
# preemption for whom asks (PreemptionCheckpointHandler), logs "SIGTERM caught at ...", and the program goes on. The program's
# own handler is never called, though signal.getsignal() still names it. One worker is enough. A handler set after the strategy
# works.
#
# Output seen, one process that sends itself SIGTERM three times, its handler set with signal.signal() at the start:
#   before the strategy: handler called
#   with the strategy: not called in 5 s, though getsignal() names it
#   set again: handler called
#
# Why it matters: a pod is stopped by SIGTERM. The usual "save a checkpoint on SIGTERM", set at the top of the script, is
# lost, without a word, in the moment that the script goes from one worker to several; each stop then lasts the whole
# terminationGracePeriodSeconds and ends in SIGKILL, and what was trained since the last checkpoint is gone.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install -q --no-compile tensorflow-cpu==2.21.0

cat > "$work/train.py" <<'PY'
import json, os, signal, socket, time

with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": [f"127.0.0.1:{port}"]}, "task": {"type": "worker", "index": 0}})

import tensorflow as tf

calls = []


def save_and_end(*_):
    calls.append(1)


def stop():
    """Send this process SIGTERM, go on, and say what has become of the signal."""
    calls.clear()
    os.kill(os.getpid(), signal.SIGTERM)
    until = time.monotonic() + 5
    while not calls and time.monotonic() < until:
        time.sleep(0.01)
    if calls:
        return "handler called"
    return "not called in 5 s, though getsignal() names it" if signal.getsignal(signal.SIGTERM) is save_and_end else "handler gone"


signal.signal(signal.SIGTERM, save_and_end)
print("before the strategy:", stop())
strategy = tf.distribute.MultiWorkerMirroredStrategy()
with strategy.scope():
    weight = tf.Variable(0.0)
print("with the strategy:", stop())
signal.signal(signal.SIGTERM, save_and_end)
print("set again:", stop(), flush=True)
os._exit(0)
PY

"$work/venv/bin/python" "$work/train.py" > "$work/seen" 2> "$work/log" || tail -5 "$work/log"
cat "$work/seen"
diff "$work/seen" - <<'SEEN' || { echo "changed: expected what is marked with >"; exit 1; }
before the strategy: handler called
with the strategy: not called in 5 s, though getsignal() names it
set again: handler called
SEEN
