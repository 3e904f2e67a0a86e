#!/usr/bin/env bash
# TensorFlow 2.21.0, Keras 3.15.0: two workers of a MultiWorkerMirroredStrategy train two models, each its own, and both end with 0.
#
# One would guess: a program that makes the strategy, which says that it has 2 replicas, and then calls fit trains one model on
# both workers, or fails.
#
# What happens: where the model was made outside of the strategy's scope, fit takes no notice of the strategy. Each worker trains
# a model of its own on all of the data, without a word to the other; both end with 0 and save models that differ. (Made inside
# the scope, the same program raises before the first step.)
#
# Output seen, two processes, the same seed for the data, weights as Keras begins with them:
#   worker 0: replicas 2, exit code 0
#   worker 1: replicas 2, exit code 0
#   the two models are the same: no
#
# Why it matters: nothing fails, each worker's loss falls, and the cluster paid for two trainings of which one is thrown away. Jobs
# that came from TensorFlow 2.15 and before do this without a changed line.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install -q --no-compile tensorflow-cpu==2.21.0 keras==3.15.0

cat > "$work/train.py" <<'PY'
import os, sys

import numpy as np
import tensorflow as tf

strategy = tf.distribute.MultiWorkerMirroredStrategy()
features = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
labels = features.sum(axis=1, keepdims=True)
model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(8, activation="relu"), tf.keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(features, labels, epochs=2, batch_size=16, verbose=0)
np.save(sys.argv[1], np.concatenate([each.ravel() for each in model.get_weights()]))
print("replicas", strategy.num_replicas_in_sync, flush=True)
PY
cat > "$work/both.py" <<'PY'
import json, os, socket, subprocess, sys

import numpy as np

folder = sys.argv[1]
free = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
workers = [f"127.0.0.1:{each.getsockname()[1]}" for each in free]
for each in free:
    each.close()
started = []
for index in range(2):
    config = json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
    argv = [sys.executable, f"{folder}/train.py", f"{folder}/{index}.npy"]
    with open(f"{folder}/log-{index}", "w") as log:
        started.append(subprocess.Popen(argv, env={**os.environ, "TF_CONFIG": config}, stdout=subprocess.PIPE, stderr=log, text=True))
for index, each in enumerate(started):
    said, _ = each.communicate(timeout=200)
    print(f"worker {index}: {said.strip()}, exit code {each.returncode}")
same = np.allclose(np.load(f"{folder}/0.npy"), np.load(f"{folder}/1.npy"))
print("the two models are the same:", "yes" if same else "no")
PY

"$work/venv/bin/python" "$work/both.py" "$work" > "$work/seen" || tail -n 5 "$work/log-0"
cat "$work/seen"
diff "$work/seen" - <<'SEEN' || { echo "changed: expected what is marked with >"; exit 1; }
worker 0: replicas 2, exit code 0
worker 1: replicas 2, exit code 0
the two models are the same: no
SEEN
