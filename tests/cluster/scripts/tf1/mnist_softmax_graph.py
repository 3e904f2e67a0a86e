"""Graph and Session with a placeholder, a convolution, dropout, a Saver and a summary writer, on synthetic digits."""
import sys

import numpy as np
import tensorflow as tf
from tensorflow.python.client import device_lib

flags = tf.flags
FLAGS = flags.FLAGS
flags.DEFINE_integer('steps', 120, 'training steps')
flags.DEFINE_float('learning_rate', 1e-2, 'learning rate')
flags.DEFINE_string('log_dir', '/tmp/mnist', 'logs')


def digits(count, seed):
    random = np.random.RandomState(seed)
    labels = random.randint(0, 10, count)
    images = random.normal(0, 0.3, (count, 28, 28)).astype(np.float32)
    for image, label in zip(images, labels):
        image[2 + 2 * label:6 + 2 * label, 4:24] += 1.0
    return images.reshape(count, 784), np.eye(10, dtype=np.float32)[labels]


def weight_variable(shape):
    return tf.Variable(tf.truncated_normal(shape, stddev=0.1))


def bias_variable(shape):
    return tf.Variable(tf.constant(0.1, shape=shape))


def main(_):
    print('devices', [device.name for device in device_lib.list_local_devices()])
    tf.set_random_seed(7)
    x = tf.placeholder(tf.float32, [None, 784], name='x')
    y_ = tf.placeholder(tf.float32, [None, 10], name='y_')
    keep_prob = tf.placeholder(tf.float32)
    with tf.name_scope('conv1'):
        h = tf.nn.relu(tf.nn.conv2d(tf.reshape(x, [-1, 28, 28, 1]), weight_variable([5, 5, 1, 8]), strides=[1, 1, 1, 1], padding='SAME') + bias_variable([8]))
        h = tf.nn.max_pool(h, ksize=[1, 4, 4, 1], strides=[1, 4, 4, 1], padding='SAME')
    with tf.variable_scope('fc', initializer=tf.truncated_normal_initializer(stddev=0.1)):
        flat = tf.reshape(h, [-1, 7 * 7 * 8])
        w = tf.get_variable('w', [7 * 7 * 8, 10])
        y = tf.matmul(tf.nn.dropout(flat, keep_prob), w) + bias_variable([10])
    cross_entropy = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=y_, logits=y))
    global_step = tf.train.get_or_create_global_step()
    train_step = tf.train.AdamOptimizer(FLAGS.learning_rate).minimize(cross_entropy, global_step=global_step)
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(y, 1), tf.argmax(y_, 1)), tf.float32))
    tf.summary.scalar('cross_entropy', cross_entropy)
    merged = tf.summary.merge_all()
    saver = tf.train.Saver()

    images, labels = digits(2000, 1)
    test_images, test_labels = digits(200, 2)
    if tf.gfile.Exists(FLAGS.log_dir):
        tf.gfile.DeleteRecursively(FLAGS.log_dir)
    tf.gfile.MakeDirs(FLAGS.log_dir)
    config = tf.ConfigProto(allow_soft_placement=True, gpu_options=tf.GPUOptions(allow_growth=True))
    with tf.Session(config=config) as sess:
        writer = tf.summary.FileWriter(FLAGS.log_dir, sess.graph)
        sess.run(tf.global_variables_initializer())
        random = np.random.RandomState(3)
        for step in range(FLAGS.steps):
            batch = random.randint(0, len(images), 64)
            summary, _ = sess.run([merged, train_step], feed_dict={x: images[batch], y_: labels[batch], keep_prob: 0.5})
            writer.add_summary(summary, step)
        score = sess.run(accuracy, feed_dict={x: test_images, y_: test_labels, keep_prob: 1.0})
        path = saver.save(sess, FLAGS.log_dir + '/model.ckpt', global_step=global_step)
        writer.close()
    with tf.Session() as sess:
        saver.restore(sess, tf.train.latest_checkpoint(FLAGS.log_dir))
        again = sess.run(accuracy, {x: test_images, y_: test_labels, keep_prob: 1.0})
    print('RESULT', path, score, again)
    return 0 if score > 0.9 and abs(score - again) < 1e-6 else 1


if __name__ == '__main__':
    tf.app.run(main=main, argv=[sys.argv[0]])
