"""A conv net on images of CIFAR's shape with the usual callbacks, mixed into one fit, saved and loaded again."""
import argparse
import json
import os

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--model-dir", default=os.environ.get("SM_MODEL_DIR", "/tmp/model"))
parser.add_argument("--log-dir", default=os.environ.get("AIP_TENSORBOARD_LOG_DIR", "/tmp/logs"))
args = parser.parse_args()

keras.utils.set_random_seed(7)
draw = np.random.default_rng(7)
labels = draw.integers(0, 3, 600)
images = draw.normal(0.4, 0.2, (600, 32, 32, 3)).astype("float32")
for number, label in enumerate(labels):
    images[number, :, :, label] += 0.5

model = keras.Sequential(
    [
        keras.Input((32, 32, 3)),
        layers.RandomFlip("horizontal"),
        layers.Conv2D(8, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(16, 3, activation="relu"),
        layers.BatchNormalization(),
        layers.GlobalAveragePooling2D(),
        layers.Dropout(0.2),
        layers.Dense(3, activation="softmax"),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(0.02), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
os.makedirs(args.model_dir, exist_ok=True)
best = os.path.join(args.model_dir, "best.keras")


class Story(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        print("epoch", epoch, json.dumps({key: round(float(value), 4) for key, value in logs.items()}), flush=True)


history = model.fit(
    images,
    labels,
    validation_split=0.2,
    epochs=args.epochs,
    batch_size=32,
    verbose=0,
    callbacks=[
        Story(),
        keras.callbacks.ModelCheckpoint(best, monitor="val_loss", save_best_only=True),
        keras.callbacks.TensorBoard(args.log_dir, histogram_freq=1),
        keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau(patience=2),
        keras.callbacks.CSVLogger(os.path.join(args.model_dir, "history.csv")),
        keras.callbacks.BackupAndRestore(os.path.join(args.model_dir, "backup")),
    ],
)
loaded = keras.models.load_model(best)
score = loaded.evaluate(images[480:], labels[480:], verbose=0)
assert [name for _, _, files in os.walk(args.log_dir) for name in files if "tfevents" in name]
print("RESULT", history.history["loss"][-1], score)
assert history.history["loss"][-1] < history.history["loss"][0]
