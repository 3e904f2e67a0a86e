"""A fit of Keras 3 on several workers, which raises before its first step."""

import numpy as np
import tensorflow as tf

strategy = tf.distribute.MultiWorkerMirroredStrategy()
with strategy.scope():
    model = tf.keras.Sequential([tf.keras.Input((1,)), tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
model.fit(np.zeros((64, 1)), np.zeros((64, 1)), verbose=0)
