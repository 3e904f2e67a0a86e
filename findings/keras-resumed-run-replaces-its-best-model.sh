#!/usr/bin/env bash
# Keras 3.15.1 (backend jax 0.7.2): after a resume, ModelCheckpoint(save_best_only=True) replaces the best model by a worse one.
#
# One would guess: BackupAndRestore resumes the run, so the file of the best model is written again only for a better one; or
# at least that the callback, which finds that file, does not take an unread file for worse than anything.
#
# What happens: the best value is kept by the callback alone, which is new in the new process and starts at infinity; the
# backup holds the weights, the optimizer and the number of the epoch. The first epoch after the resume is always "the best so
# far", and its model takes the place of the better one. Without a resume the same run keeps the best model.
#
# Output seen:   undisturbed 0.488      weight in best.keras after 8 epochs; it comes nearest to the 0.5 asked for in epoch 2
#                interrupted 0.488      stopped after 5 epochs
#                resumed     0.738      the same 8 epochs: best.keras is now that of epoch 5, the first after the resume
#
# Why it matters: a pod that is evicted past the best epoch loses the model that the job was about, in a run that ends well and
# reports nothing. EarlyStopping and ReduceLROnPlateau count anew likewise. Whoever resumes passes initial_value_threshold, or
# keeps all models (a name with {epoch} in it) and chooses at the end.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install -q --no-compile keras==3.15.1 jax==0.7.2 jaxlib==0.7.2

cat > "$work/train.py" <<'PY'
import os, sys

import keras
import numpy as np

folder, stop_after = sys.argv[1], int(sys.argv[2])
os.makedirs(folder, exist_ok=True)
one = np.ones((4, 1))
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")


class Interrupted(Exception):
    pass


class Interruption(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == stop_after:
            raise Interrupted


try:
    # The training pulls the one weight from 0 to 1, the validation asks for 0.5: it is best on the way, then worse in each epoch.
    model.fit(one, one, batch_size=4, epochs=8, verbose=0, validation_data=(one, one / 2),
              callbacks=[keras.callbacks.BackupAndRestore(f"{folder}/backup"),
                         keras.callbacks.ModelCheckpoint(f"{folder}/best.keras", save_best_only=True), Interruption()])
except Interrupted:
    pass
print(f"{keras.saving.load_model(f'{folder}/best.keras').get_weights()[0].item():.3f}")
PY

cd "$work"
run() { KERAS_BACKEND=jax JAX_PLATFORMS=cpu "$work/venv/bin/python" train.py "$@"; }
changed=0
check() { # NAME EXPECTED FOLDER STOP_AFTER
  local seen
  seen=$(run "$3" "$4")
  echo "$1 $seen"
  [ "$seen" = "$2" ] || { echo "changed: expected $2"; changed=1; }
}
check undisturbed 0.488 a 99
check interrupted 0.488 b 5
check resumed 0.738 b 99
exit "$changed"
