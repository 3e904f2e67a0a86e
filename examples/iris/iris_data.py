"""The iris data set: reading it, and feeding it to an Estimator.

A file starts with a header such as `120,4,setosa,versicolor,virginica`; each further line
holds four measurements in centimetres and the class as 0, 1 or 2.
"""

import csv

import numpy as np
import tensorflow as tf

MEASUREMENTS = ["SepalLength", "SepalWidth", "PetalLength", "PetalWidth"]
SPECIES = ["Setosa", "Versicolor", "Virginica"]


def load_data(path):
    """Return the measurements by name, and the classes."""
    with tf.gfile.Open(path) as source:
        rows = list(csv.reader(source))[1:]
    table = np.array(rows, dtype=np.float32)
    features = {name: table[:, column] for column, name in enumerate(MEASUREMENTS)}
    return features, table[:, -1].astype(np.int32)


def train_input(features, labels, batch_size, seed):
    """Return shuffled batches without end."""
    dataset = tf.data.Dataset.from_tensor_slices((features, labels))
    dataset = dataset.shuffle(len(labels), seed=seed).repeat().batch(batch_size)
    return tf.data.make_one_shot_iterator(dataset).get_next()


def eval_input(features, labels, batch_size):
    """Return each row once, in order; without `labels` for prediction."""
    inputs = features if labels is None else (features, labels)
    dataset = tf.data.Dataset.from_tensor_slices(inputs).batch(batch_size)
    return tf.data.make_one_shot_iterator(dataset).get_next()
