"""An Estimator of TensorFlow 1 with train_and_evaluate: chief, worker and parameter server find each other by TF_CONFIG.

An evaluator, where there is one, looks for new checkpoints in its own folder, and exports what it has evaluated last.

Its saver is one that writes where the chief is: by default each parameter server writes its part of a checkpoint onto its own disk.
"""

import argparse
import time

import tensorflow as tf

parser = argparse.ArgumentParser()
parser.add_argument("--model_dir", required=True)
parser.add_argument("--export", required=True)
parser.add_argument("--pause", action="store_true", help="wait after the first checkpoint for an end from outside")
arguments = parser.parse_args()
tf.logging.set_verbosity(tf.logging.INFO)


def data():
    x = tf.random.uniform((32, 1))
    return {"x": x}, 3.0 * x + 1.0


def line(features, labels, mode):
    predicted = tf.layers.dense(features["x"], 1, name="line")
    if mode == tf.estimator.ModeKeys.PREDICT:
        return tf.estimator.EstimatorSpec(mode, predictions={"y": predicted})
    loss = tf.losses.mean_squared_error(labels, predicted)
    step = tf.train.GradientDescentOptimizer(0.1).minimize(loss, tf.train.get_global_step())
    scaffold = tf.train.Scaffold(saver=tf.train.Saver(sharded=False))
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=step, scaffold=scaffold)


class Pause(tf.train.CheckpointSaverListener):
    def after_save(self, session, global_step_value):
        while global_step_value > 0:
            time.sleep(1)


def serving():
    features = {"x": tf.placeholder(tf.float32, (None, 1))}
    return tf.estimator.export.ServingInputReceiver(features, features)


config = tf.estimator.RunConfig(model_dir=arguments.model_dir, save_checkpoints_steps=50)
estimator = tf.estimator.Estimator(line, config=config)
found = estimator.latest_checkpoint()
print("goes on from", found, flush=True)
train = tf.estimator.TrainSpec(data, max_steps=150, saving_listeners=[Pause()] if arguments.pause and not found else [])
latest = tf.estimator.LatestExporter("latest", serving)
evaluate = tf.estimator.EvalSpec(data, steps=1, exporters=latest, start_delay_secs=1, throttle_secs=1)
tf.estimator.train_and_evaluate(estimator, train, evaluate)
if config.is_chief:
    estimator.export_saved_model(arguments.export, serving)
print("done as", config.task_type, config.task_id, flush=True)
