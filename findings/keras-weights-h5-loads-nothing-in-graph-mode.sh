#!/usr/bin/env bash
# TensorFlow 2.15.1 (tf.keras 2.15.0), graph mode: load_weights("x.weights.h5") loads nothing and says nothing.
#
# One would guess: a file of weights that tf.keras 2.15 has written is loaded by the same tf.keras into the same model, also
# after tf.compat.v1.disable_eager_execution(), or refused with an error.
#
# What happens: names that end in .weights.h5 are read by the new saving library, which sets weights one by one with assign().
# In graph mode each assign() makes an operation that nobody runs: the call returns, and the model keeps the weights that it
# was made with. The same weights in a file called x.h5 are loaded. (Writing such a name in graph mode raises an error.)
#
# Output seen:   written with eager execution: 7.0
#                x.h5 in graph mode: 7.0
#                x.weights.h5 in graph mode: 0.0, no error, no warning
#
# Why it matters: a script for TensorFlow 1 that evaluates or goes on training from a .weights.h5 that another job has written
# works with untrained weights, and its figures are the only sign.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install -q --no-compile tensorflow-cpu==2.15.1 "numpy<2"

cat > "$work/weights.py" <<'PY'
import sys, warnings

import numpy as np
import tensorflow as tf

if sys.argv[1] != "write":
    tf.compat.v1.disable_eager_execution()


def model():
    return tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", input_shape=(1,))])


made = model()
if sys.argv[1] == "write":
    made.set_weights([np.array([[7.0]])])
    made.save_weights("x.h5")
    made.save_weights("x.weights.h5")
    print(float(made.get_weights()[0][0][0]))
else:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        made.load_weights(sys.argv[1])
    print(float(made.get_weights()[0][0][0]), len(told))
PY

cd "$work"
run() { TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES= "$work/venv/bin/python" weights.py "$@" 2> "$work/stderr"; }
changed=0
check() { # NAME EXPECTED ARGUMENT
  local seen
  seen=$(run "$3") || { cat "$work/stderr"; exit 1; }
  echo "$1: $seen"
  [ "$seen" = "$2" ] || { echo "changed: expected $2"; changed=1; }
}
check "written with eager execution" "7.0" write
check "x.h5 in graph mode, warnings" "7.0 0" x.h5
check "x.weights.h5 in graph mode, warnings" "0.0 0" x.weights.h5
if grep -iE "error|warn" "$work/stderr"; then echo "changed: the log now says something"; changed=1; fi
exit "$changed"
