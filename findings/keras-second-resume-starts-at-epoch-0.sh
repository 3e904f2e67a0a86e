#!/usr/bin/env bash
# Keras 3.15.1 (backend jax 0.7.2): a run that BackupAndRestore has resumed writes backups that say "epoch 0".
#
# One would guess: BackupAndRestore(save_freq=N) backs up every N batches with the epoch that is being trained, so a run
# that is interrupted twice goes on where it was, twice.
#
# What happens: the number of the epoch that goes into training_metadata.json is counted by the callback itself, from 0, and
# resuming does not set it. Interrupted in epoch 2 (of 5, 10 steps each), the run resumes at epoch 2; but each backup made
# before that epoch is over says {"epoch": 0}. Interrupted there again, the next run takes up the newest weights and the
# optimizer with them, and trains all five epochs from the first. Nothing is logged. The "batch" in the file is never read:
# an epoch that was interrupted is trained from its first batch again, by weights that have seen some of it.
#
# Output seen:   first  {"epochs": [0, 1, 2], "steps": 28, "backup": {"epoch": 2, "batch": 6}}
#                second {"epochs": [2], "steps": 35, "backup": {"epoch": 0, "batch": 5}}
#                third  {"epochs": [0, 1, 2, 3, 4], "steps": 83, "backup": null}         an undisturbed run: 50 steps
#
# Why it matters: pods on nodes that are taken away are interrupted more than once. Large epochs, for which one sets
# save_freq, are just those in which the second interruption comes before the epoch is over; the job then takes longer the
# more often it is interrupted, and learning-rate schedules, which count steps, run past their end.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install -q --no-compile keras==3.15.1 jax==0.7.2 jaxlib==0.7.2

cat > "$work/train.py" <<'PY'
import json, pathlib, sys

import keras
import numpy as np

stop_epoch, stop_batch = int(sys.argv[1]), int(sys.argv[2])
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
model.compile(optimizer="sgd", loss="mse")
epochs = []


class Interrupted(Exception):
    pass


class Interruption(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        epochs.append(epoch)

    def on_train_batch_end(self, batch, logs=None):
        if (epochs[-1], batch) == (stop_epoch, stop_batch):
            raise Interrupted


try:
    model.fit(np.ones((40, 1)), np.ones((40, 1)), batch_size=4, epochs=5, verbose=0,
              callbacks=[keras.callbacks.BackupAndRestore("backup", save_freq=3), Interruption()])
except Interrupted:
    pass
told = pathlib.Path("backup/training_metadata.json")
print(json.dumps({"epochs": epochs, "steps": int(model.optimizer.iterations), "backup": json.loads(told.read_text()) if told.exists() else None}))
PY

cd "$work"
run() { KERAS_BACKEND=jax JAX_PLATFORMS=cpu "$work/venv/bin/python" train.py "$@"; }
changed=0
check() { # NAME EXPECTED STOP_EPOCH STOP_BATCH
  local seen
  seen=$(run "$3" "$4")
  echo "$1 $seen"
  [ "$seen" = "$2" ] || { echo "changed: expected $2"; changed=1; }
}
check first  '{"epochs": [0, 1, 2], "steps": 28, "backup": {"epoch": 2, "batch": 6}}' 2 7
check second '{"epochs": [2], "steps": 35, "backup": {"epoch": 0, "batch": 5}}' 2 7
check third  '{"epochs": [0, 1, 2, 3, 4], "steps": 83, "backup": null}' 9 9
exit "$changed"
