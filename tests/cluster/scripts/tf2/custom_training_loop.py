"""GradientTape, tf.function, tf.data and a checkpoint, with pandas and scikit-learn beside them."""
import tempfile

import pandas as pd
import tensorflow as tf
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

tf.random.set_seed(1)
x, y = make_classification(n_samples=1200, n_features=12, n_informative=8, random_state=3, class_sep=1.5)
frame = pd.DataFrame(StandardScaler().fit_transform(x)).assign(label=y)
train, test = train_test_split(frame, test_size=0.25, random_state=0)


def dataset(part, training):
    part = part.copy()
    label = part.pop("label")
    data = tf.data.Dataset.from_tensor_slices((part.values.astype("float32"), label.values))
    return (data.shuffle(1000) if training else data).batch(32).prefetch(tf.data.AUTOTUNE)


model = tf.keras.Sequential([tf.keras.layers.Dense(32, activation="relu"), tf.keras.layers.Dense(1)])
optimizer = tf.keras.optimizers.Adam(1e-2)
loss_fn = tf.keras.losses.BinaryCrossentropy(from_logits=True)
metric = tf.keras.metrics.BinaryAccuracy(threshold=0.0)


@tf.function
def step(features, labels):
    with tf.GradientTape() as tape:
        logits = model(features, training=True)
        loss = loss_fn(labels[:, None], logits)
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return loss


for epoch in range(5):
    for features, labels in dataset(train, True):
        loss = step(features, labels)
    tf.print("epoch", epoch, "loss", loss)

for features, labels in dataset(test, False):
    metric.update_state(labels[:, None], model(features))
manager = tf.train.CheckpointManager(tf.train.Checkpoint(model=model), tempfile.mkdtemp(), max_to_keep=1)
print(manager.save())
print("RESULT", float(metric.result()))
assert metric.result() > 0.85
