"""tf.data with TextLineDataset and decode_csv, one-shot and initializable iterators, queues, TFRecords, and a user of tf.contrib."""
import os
import pickle
import tempfile
from multiprocessing import Process, Queue

import numpy as np
import tensorflow as tf
from tensorflow.python.ops import rnn_cell


def parse(line):
    columns = tf.decode_csv(line, record_defaults=[[0.0], [0.0], [0]])
    return tf.stack(columns[:2]), columns[2]


def worker(queue):
    import tensorflow as tf
    with tf.Session() as sess:
        queue.put(sess.run(tf.constant(20) + 1))


def main(argv):
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, 'data.csv')
    with tf.gfile.GFile(path, 'w') as file:
        file.write('a,b,label\n')
        for number in range(100):
            file.write('%f,%f,%d\n' % (number, -number, number % 2))
    dataset = tf.data.TextLineDataset(path).skip(1).map(parse, num_parallel_calls=2).shuffle(10).batch(25).repeat(2)
    features, label = dataset.make_one_shot_iterator().get_next()
    total = 0
    with tf.Session() as sess:
        while True:
            try:
                total += sess.run(label).sum()
            except tf.errors.OutOfRangeError:
                break

    records = os.path.join(folder, 'data.tfrecord')
    with tf.python_io.TFRecordWriter(records) as writer:
        for number in range(10):
            feature = {'x': tf.train.Feature(int64_list=tf.train.Int64List(value=[number]))}
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    files = tf.placeholder(tf.string, shape=[None])
    iterator = (tf.data.TFRecordDataset(files)
                .map(lambda text: tf.parse_single_example(text, {'x': tf.FixedLenFeature([], tf.int64)}))
                .batch(10).make_initializable_iterator())
    element = iterator.get_next()
    with tf.Session() as sess:
        sess.run(iterator.initializer, {files: [records]})
        total_records = sess.run(element)['x'].sum()

    with tf.Graph().as_default(), tf.Session() as sess:
        cell = tf.nn.rnn_cell.MultiRNNCell([rnn_cell.GRUCell(4), tf.nn.rnn_cell.BasicLSTMCell(4)])
        outputs, state = tf.nn.dynamic_rnn(cell, tf.ones([2, 5, 3]), dtype=tf.float32)
        sess.run(tf.global_variables_initializer())
        assert sess.run(outputs).shape == (2, 5, 4)

    try:
        initializer = tf.contrib.layers.xavier_initializer()
    except AttributeError as error:
        print(error)
        assert 'tf.contrib.layers.xavier_initializer' in str(error) and 'tf.glorot_uniform_initializer' in str(error)
        initializer = tf.glorot_uniform_initializer()
    try:
        from tensorflow.contrib import slim
    except ImportError as error:
        print(error)
        assert 'tensorflow.contrib.slim' in str(error) and 'tf_slim' in str(error)
    try:
        from tensorflow.examples.tutorials.mnist import input_data
    except ImportError as error:
        print(error)
        assert 'tf.keras.datasets' in str(error)

    assert pickle.loads(pickle.dumps(tf.float32)) is tf.float32
    assert pickle.loads(pickle.dumps(tf.nn.relu)) is tf.nn.relu
    queue = Queue()
    process = Process(target=worker, args=(queue,))
    process.start()
    answer = queue.get(timeout=120)
    process.join()
    with tf.Session() as sess:
        value = sess.run(tf.get_variable('w', [2, 2], initializer=initializer).initializer)
    print('RESULT', total, total_records, answer, np.__version__)
    assert (total, total_records, answer) == (100, 45, 21), value


if __name__ == '__main__':
    import multiprocessing
    multiprocessing.set_start_method('spawn')
    tf.app.run()
