"""tf.app.flags, a conv net of tf.layers, MonitoredTrainingSession that resumes from its checkpoint, summaries, and tf.train.Saver."""
from __future__ import absolute_import, division, print_function

import glob
import os

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import ops
from tensorflow.python.platform import gfile

flags = tf.app.flags
flags.DEFINE_string('train_dir', '/tmp/mnist_train', 'Where checkpoints and events go.')
flags.DEFINE_integer('max_steps', 60, 'Steps of each of both rounds.')
flags.DEFINE_float('learning_rate', 0.05, 'Rate.')
flags.DEFINE_boolean('use_fp16', False, 'Train in fp16.')
FLAGS = flags.FLAGS


def batches():
    draw = np.random.RandomState(0)
    while True:
        labels = draw.randint(0, 4, 64)
        images = draw.normal(0, 0.3, (64, 8, 8, 1))
        for row, label in enumerate(labels):
            images[row, 4 * (label // 2):4 * (label // 2) + 4, 4 * (label % 2):4 * (label % 2) + 4] += 1
        yield images.astype(np.float32), labels.astype(np.int64)


def inference(images, keep_prob):
    with tf.variable_scope('conv', reuse=tf.AUTO_REUSE):
        net = tf.layers.conv2d(images, 8, [3, 3], padding='same', activation=tf.nn.relu)
        net = tf.layers.max_pooling2d(net, [2, 2], strides=2)
    net = tf.nn.dropout(tf.layers.flatten(net), keep_prob=keep_prob)
    return tf.layers.dense(net, 4, kernel_regularizer=tf.keras.regularizers.l2(1e-4))


def train(until):
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        step = tf.train.get_or_create_global_step()
        images = tf.placeholder(tf.float32, [None, 8, 8, 1])
        labels = tf.placeholder(tf.int64, [None])
        keep = tf.placeholder_with_default(1.0, [])
        logits = inference(images, keep)
        loss = tf.losses.sparse_softmax_cross_entropy(labels, logits) + tf.losses.get_regularization_loss()
        accuracy = tf.reduce_mean(tf.to_float(tf.equal(tf.argmax(logits, 1), labels)))
        tf.summary.scalar('loss', loss)
        tf.summary.histogram('logits', logits)
        average = tf.train.ExponentialMovingAverage(0.9, step)
        with tf.control_dependencies([tf.train.MomentumOptimizer(FLAGS.learning_rate, 0.9).minimize(loss, global_step=step)]):
            train_op = average.apply(tf.trainable_variables())
        assert isinstance(loss, ops.Tensor) and loss.graph is ops.get_default_graph()
        hooks = [tf.train.StopAtStepHook(last_step=until), tf.train.NanTensorHook(loss)]
        first = None
        with tf.train.MonitoredTrainingSession(
                checkpoint_dir=FLAGS.train_dir, hooks=hooks, save_checkpoint_steps=20, save_summaries_steps=20,
                config=tf.ConfigProto(allow_soft_placement=True, log_device_placement=False)) as session:
            data = batches()
            while not session.should_stop():
                x, y = next(data)
                _, now, value = session.run([train_op, step, accuracy], {images: x, labels: y, keep: 0.8})
                first = now if first is None else first
        return first, value


def main(argv=None):
    if gfile.Exists(FLAGS.train_dir):
        gfile.DeleteRecursively(FLAGS.train_dir)
    gfile.MakeDirs(FLAGS.train_dir)
    first, _ = train(FLAGS.max_steps)
    again, accuracy = train(2 * FLAGS.max_steps)
    state = tf.train.get_checkpoint_state(FLAGS.train_dir)
    reader = tf.train.NewCheckpointReader(state.model_checkpoint_path)
    with tf.Graph().as_default(), tf.Session() as session:
        saver = tf.train.import_meta_graph(state.model_checkpoint_path + '.meta')
        saver.restore(session, state.model_checkpoint_path)
        steps = session.run(tf.train.get_global_step())
    print('RESULT', first, again, steps, accuracy, sorted(reader.get_variable_to_shape_map())[:2])
    assert (int(first), int(steps)) == (1, 2 * FLAGS.max_steps) and again > FLAGS.max_steps
    assert glob.glob(os.path.join(FLAGS.train_dir, 'events.out.tfevents*'))


if __name__ == '__main__':
    tf.app.run()
