"""PNG and JPEG files in a folder per class, read by image_dataset_from_directory and by tf.io, in a tf.data pipeline with a cache on disk."""
import pathlib
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from PIL import Image

folder = pathlib.Path(tempfile.mkdtemp())
draw = np.random.default_rng(0)
for kind, channel in (("blue", 2), ("green", 1), ("red", 0)):
    (folder / "images" / kind).mkdir(parents=True)
    for number in range(30):
        pixels = draw.integers(0, 120, (24, 24, 3), dtype="uint8")
        pixels[:, :, channel] += 120
        Image.fromarray(pixels).save(folder / "images" / kind / f"{number}.{'png' if number % 2 else 'jpg'}")

options = {"validation_split": 0.3, "seed": 5, "image_size": (24, 24), "batch_size": 16}
train = tf.keras.utils.image_dataset_from_directory(folder / "images", subset="training", **options)
valid = tf.keras.utils.image_dataset_from_directory(folder / "images", subset="validation", **options)
names = train.class_names
train = train.cache(str(folder / "cache")).shuffle(100).prefetch(tf.data.AUTOTUNE)

model = tf.keras.Sequential([
    tf.keras.layers.Rescaling(1 / 255),
    tf.keras.layers.Conv2D(4, 3, activation="relu"),
    tf.keras.layers.GlobalAveragePooling2D(),
    tf.keras.layers.Dense(len(names)),
])
model.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
model.optimizer.learning_rate = 0.05
history = model.fit(train, validation_data=valid, epochs=6, verbose=2)

files = tf.data.Dataset.list_files(str(folder / "images" / "*" / "*.png"), shuffle=False)


def decode(path):
    label = tf.strings.split(path, "/")[-2]
    image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
    image.set_shape((None, None, 3))
    return tf.image.resize(tf.image.random_flip_left_right(image), (24, 24)), label


count = sum(1 for _ in files.map(decode, num_parallel_calls=tf.data.AUTOTUNE).batch(5).unbatch())
plt.plot(history.history["loss"])
plt.savefig(folder / "loss.png")
print("RESULT", names, count, history.history["val_accuracy"][-1], (folder / "loss.png").stat().st_size)
assert names == ["blue", "green", "red"] and count == 45
