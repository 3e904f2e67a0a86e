"""The classic first Keras program: a small image classifier, with callbacks, saving, loading and a SavedModel export."""
import os
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

print(tf.__version__)
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
labels = rng.integers(0, 10, 2000)
images = rng.normal(0, 0.2, (2000, 28, 28)).astype("float32")
for image, label in zip(images, labels):
    image[2 * label : 2 * label + 5] += 1.0

folder = tempfile.mkdtemp()
model = keras.Sequential([
    keras.Input(shape=(28, 28)),
    layers.Rescaling(1.0),
    layers.Flatten(),
    layers.Dense(64, activation="relu"),
    layers.Dropout(0.2),
    layers.Dense(10),
])
model.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
model.summary()
callbacks = [
    keras.callbacks.TensorBoard(os.path.join(folder, "logs")),
    keras.callbacks.ModelCheckpoint(os.path.join(folder, "best.keras"), save_best_only=True),
    keras.callbacks.EarlyStopping(patience=3),
]
history = model.fit(images, labels, epochs=4, validation_split=0.2, callbacks=callbacks, verbose=2)
loss, accuracy = model.evaluate(images, labels, verbose=0)
restored = keras.models.load_model(os.path.join(folder, "best.keras"))
np.testing.assert_allclose(restored.predict(images[:3], verbose=0).shape, (3, 10))
model.export(os.path.join(folder, "export"))
served = tf.saved_model.load(os.path.join(folder, "export"))
assert served.serve(images[:2]).shape == (2, 10)
plt.plot(history.history["accuracy"])
plt.savefig(os.path.join(folder, "accuracy.png"))
assert any("tfevents" in name for _, _, names in os.walk(os.path.join(folder, "logs")) for name in names)
print("RESULT", accuracy)
assert accuracy > 0.9
