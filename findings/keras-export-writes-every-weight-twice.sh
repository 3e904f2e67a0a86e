#!/usr/bin/env bash
# Keras 3.15.0 with TensorFlow 2.21.0: a model that is exported takes twice the room of its weights.
#
# One would guess: model.export(), which writes a SavedModel to serve from, writes each weight once, as model.save() does.
#
# What happens: variables.data holds each weight under two names, as _all_variables/N and as variables/N, with the same bytes.
#
# Output seen, a model of 4,008,001 float32 weights, 16.0 MB:
#   model.keras, bytes for each byte of the weights: 1.0
#   variables.data, bytes for each byte of the weights: 2.0
#   names in it that hold the same kernel: 2
#
# Why it matters: of a model of 2 GB the upload, the bucket and every server's start are 4 GB, and a workspace that has room for
# the model has none for its export.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install -q --no-compile tensorflow-cpu==2.21.0 keras==3.15.0

cat > "$work/export.py" <<'PY'
import os, sys

import numpy as np
import tensorflow as tf

folder = sys.argv[1]
model = tf.keras.Sequential([tf.keras.Input((1000,)), tf.keras.layers.Dense(4000), tf.keras.layers.Dense(1, use_bias=True)])
weights = sum(each.nbytes for each in model.get_weights())
model.save(f"{folder}/model.keras")
model.export(f"{folder}/export", verbose=False)
prefix = f"{folder}/export/variables/variables"
for name, path in (("model.keras", f"{folder}/model.keras"), ("variables.data", f"{prefix}.data-00000-of-00001")):
    print(f"{name}, bytes for each byte of the weights: {os.path.getsize(path) / weights:.1f}")
reader, kernel = tf.train.load_checkpoint(prefix), model.get_weights()[0]
same = [name for name, shape in reader.get_variable_to_shape_map().items() if shape == list(kernel.shape)]
print("names in it that hold the same kernel:", sum(np.array_equal(reader.get_tensor(name), kernel) for name in same))
PY

"$work/venv/bin/python" "$work/export.py" "$work" > "$work/seen" 2> "$work/log" || tail -5 "$work/log"
cat "$work/seen"
diff "$work/seen" - <<'SEEN' || { echo "changed: expected what is marked with >"; exit 1; }
model.keras, bytes for each byte of the weights: 1.0
variables.data, bytes for each byte of the weights: 2.0
names in it that hold the same kernel: 2
SEEN
