"""A DNNClassifier on iris-like data, in the way of the well-known TF 1.x getting-started program."""
from __future__ import absolute_import, division, print_function

import argparse
import os
import tempfile

import numpy as np
import pandas as pd
import tensorflow as tf

CSV_COLUMN_NAMES = ['SepalLength', 'SepalWidth', 'PetalLength', 'PetalWidth', 'Species']
SPECIES = ['Setosa', 'Versicolor', 'Virginica']

parser = argparse.ArgumentParser()
parser.add_argument('--batch_size', default=100, type=int, help='batch size')
parser.add_argument('--train_steps', default=300, type=int, help='number of training steps')


def synthesize(path, rows, seed):
    centers = np.array([[5.0, 3.4, 1.5, 0.2], [5.9, 2.8, 4.3, 1.3], [6.6, 3.0, 5.6, 2.0]])
    random = np.random.RandomState(seed)
    labels = random.randint(0, 3, rows)
    frame = pd.DataFrame(centers[labels] + random.normal(0, 0.2, (rows, 4)), columns=CSV_COLUMN_NAMES[:4])
    frame['Species'] = labels
    frame.to_csv(path, index=False)


def load_data(path, y_name='Species'):
    train = pd.read_csv(path, names=CSV_COLUMN_NAMES, header=0)
    return train, train.pop(y_name)


def train_input_fn(features, labels, batch_size):
    dataset = tf.data.Dataset.from_tensor_slices((dict(features), labels))
    return dataset.shuffle(1000).repeat().batch(batch_size)


def eval_input_fn(features, labels, batch_size):
    features = dict(features)
    inputs = features if labels is None else (features, labels)
    return tf.data.Dataset.from_tensor_slices(inputs).batch(batch_size)


def main(argv):
    args = parser.parse_args(argv[1:])
    folder = tempfile.mkdtemp()
    paths = [os.path.join(folder, name) for name in ('train.csv', 'test.csv')]
    synthesize(paths[0], 120, 1)
    synthesize(paths[1], 30, 2)
    (train_x, train_y), (test_x, test_y) = [load_data(path) for path in paths]

    my_feature_columns = [tf.feature_column.numeric_column(key=key) for key in train_x.keys()]
    classifier = tf.estimator.DNNClassifier(feature_columns=my_feature_columns, hidden_units=[10, 10], n_classes=3)
    classifier.train(input_fn=lambda: train_input_fn(train_x, train_y, args.batch_size), steps=args.train_steps)
    eval_result = classifier.evaluate(input_fn=lambda: eval_input_fn(test_x, test_y, args.batch_size))
    print('\nTest set accuracy: {accuracy:0.3f}\n'.format(**eval_result))

    predict_x = {'SepalLength': [5.1, 5.9, 6.9], 'SepalWidth': [3.3, 3.0, 3.1], 'PetalLength': [1.7, 4.2, 5.4], 'PetalWidth': [0.5, 1.5, 2.1]}
    predictions = classifier.predict(input_fn=lambda: eval_input_fn(predict_x, labels=None, batch_size=args.batch_size))
    for pred_dict, expec in zip(predictions, SPECIES):
        class_id = pred_dict['class_ids'][0]
        print('Prediction is "{}" ({:.1f}%), expected "{}"'.format(SPECIES[class_id], 100 * pred_dict['probabilities'][class_id], expec))

    def serving_input_receiver_fn():
        text = tf.placeholder(tf.string, [None], name='inputs')
        values = tf.reshape(tf.string_to_number(text), [-1, 4])
        columns = dict(zip(CSV_COLUMN_NAMES[:4], tf.split(values, 4, axis=1)))
        return tf.estimator.export.ServingInputReceiver(columns, {'inputs': text})

    exported = classifier.export_saved_model(os.path.join(folder, 'export'), serving_input_receiver_fn)
    assert tf.gfile.Exists(os.path.join(exported, b'saved_model.pb'))
    predict = tf.saved_model.loader
    with tf.Session(graph=tf.Graph()) as sess:
        meta = predict.load(sess, [tf.saved_model.tag_constants.SERVING], exported.decode())
        signature = meta.signature_def['predict']
        out = sess.run(signature.outputs['class_ids'].name, {signature.inputs['inputs'].name: ['5.1', '3.3', '1.7', '0.5']})
    print('RESULT accuracy', eval_result['accuracy'], 'class', int(out[0][0]))
    assert eval_result['accuracy'] > 0.8


if __name__ == '__main__':
    tf.logging.set_verbosity(tf.logging.INFO)
    tf.app.run(main)
