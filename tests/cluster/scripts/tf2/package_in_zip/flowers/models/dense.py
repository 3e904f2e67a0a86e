import tensorflow as tf

from ..data import names


def build(inputs, classes):
    assert classes == len(names())
    return tf.keras.Sequential([tf.keras.Input((inputs,)), tf.keras.layers.Dense(8, activation="relu"), tf.keras.layers.Dense(classes, activation="softmax")])
