"""An Estimator of TensorFlow 1 with train_and_evaluate: chief, worker and parameter server find each other by TF_CONFIG."""

import argparse

import tensorflow as tf

parser = argparse.ArgumentParser()
parser.add_argument("--model_dir", required=True)
parser.add_argument("--export", required=True)
arguments = parser.parse_args()
tf.logging.set_verbosity(tf.logging.INFO)


def data():
    x = tf.random.uniform((32, 1))
    return {"x": x}, tf.cast(x[:, 0] > 0.5, tf.int32)


columns = [tf.feature_column.numeric_column("x")]
config = tf.estimator.RunConfig(model_dir=arguments.model_dir, save_checkpoints_steps=50)
estimator = tf.estimator.DNNClassifier([8], columns, n_classes=2, config=config)
train = tf.estimator.TrainSpec(data, max_steps=150)
tf.estimator.train_and_evaluate(estimator, train, tf.estimator.EvalSpec(data, steps=1))
if config.is_chief:
    example = {"x": tf.placeholder(tf.float32, (None, 1))}
    estimator.export_saved_model(arguments.export, tf.estimator.export.build_raw_serving_input_receiver_fn(example))
print("done as", config.task_type, config.task_id, flush=True)
