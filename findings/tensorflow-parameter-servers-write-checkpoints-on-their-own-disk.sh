#!/usr/bin/env bash
# TensorFlow 2.15.1, Estimator with parameter servers: the checkpoint is written by the parameter servers, each onto its own disk.
#
# One would guess: the chief saves the checkpoint into model_dir; who writes that folder is the process that was given it.
#
# What happens: train_and_evaluate makes a sharded saver, whose operations run where the variables are: on the parameter servers, each of
# which writes into the path of that name on its own file system. On machines that share a disk nobody notices. On others the chief trains
# to the end, ends with 0, and has no weights: they lie on the server. With a saver of sharded=False the chief writes them.
#
# The two machines are played here by two working folders and a relative model_dir.
#
# Output seen:
#   sharded (as by default): the chief ended with 0
#   sharded (as by default): weights on the disk of the chief: none
#   sharded (as by default): weights on the disk of the server: model.ckpt-20.index
#   not sharded: the chief ended with 0
#   not sharded: weights on the disk of the chief: model.ckpt-20.index
#   not sharded: weights on the disk of the server: none
#
# Why it matters: clusters without a shared file system are what object stores and pods give. The remedy is one argument deep inside of a
# Scaffold, and canned Estimators such as DNNClassifier have no place for it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install -q --no-compile tensorflow-cpu==2.15.1 'numpy<2'

cat > "$work/train.py" <<'PY'
import sys

import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()
SHARDED = sys.argv[1] == "sharded"


def data():
    x = tf.random.uniform((8, 1))
    return {"x": x}, 3.0 * x + 1.0


def line(features, labels, mode):
    loss = tf.losses.mean_squared_error(labels, tf.layers.dense(features["x"], 1))
    step = tf.train.GradientDescentOptimizer(0.1).minimize(loss, tf.train.get_global_step())
    scaffold = None if SHARDED else tf.train.Scaffold(saver=tf.train.Saver(sharded=False))
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=step, scaffold=scaffold)


config = tf.estimator.RunConfig(model_dir="model", save_checkpoints_steps=10)
estimator = tf.estimator.Estimator(line, config=config)
tf.estimator.train_and_evaluate(estimator, tf.estimator.TrainSpec(data, max_steps=20), tf.estimator.EvalSpec(data, steps=1))
PY

cat > "$work/both.py" <<'PY'
import json, os, re, socket, subprocess, sys

work, how = sys.argv[1:]
free = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
chief, server = (f"127.0.0.1:{each.getsockname()[1]}" for each in free)
for each in free:
    each.close()
words = "sharded (as by default)" if how == "sharded" else "not sharded"


def start(kind):
    folder = f"{work}/{how}-{kind}"
    os.makedirs(f"{folder}/model")
    task = {"cluster": {"chief": [chief], "ps": [server]}, "task": {"type": kind, "index": 0}}
    environment = {**os.environ, "TF_CONFIG": json.dumps(task), "TF_CPP_MIN_LOG_LEVEL": "2"}
    with open(f"{work}/{how}-{kind}.log", "w") as log:
        return subprocess.Popen([sys.executable, f"{work}/train.py", how], cwd=folder, env=environment, stdout=log, stderr=log)


ps, lead = start("ps"), start("chief")
try:
    code = lead.wait(150)
finally:
    ps.kill()
    lead.kill()
print(f"{words}: the chief ended with {code}")
for who, kind in (("chief", "chief"), ("server", "ps")):
    names = [name for _, _, files in os.walk(f"{work}/{how}-{kind}/model") for name in files]
    weights = sorted(name for name in names if re.match(r"model\.ckpt-\d+\.(index|data)", name))
    print(f"{words}: weights on the disk of the {who}: {weights[-1] if weights else 'none'}")
PY

for how in sharded whole; do
  "$work/venv/bin/python" "$work/both.py" "$work" "$how"
done | tee "$work/seen"
diff "$work/seen" - <<'SEEN' || { echo "changed: expected what is marked with >"; exit 1; }
sharded (as by default): the chief ended with 0
sharded (as by default): weights on the disk of the chief: none
sharded (as by default): weights on the disk of the server: model.ckpt-20.index
not sharded: the chief ended with 0
not sharded: weights on the disk of the chief: model.ckpt-20.index
not sharded: weights on the disk of the server: none
SEEN
