"""A model_fn Estimator with tf.layers, tf.metrics, hooks, RunConfig and train_and_evaluate."""
import numpy as np
import tensorflow as tf

tf.logging.set_verbosity(tf.logging.INFO)


class CountingHook(tf.train.SessionRunHook):
    def begin(self):
        self.steps = 0

    def before_run(self, run_context):
        return tf.train.SessionRunArgs(tf.train.get_global_step())

    def after_run(self, run_context, run_values):
        self.steps += 1


def model_fn(features, labels, mode, params):
    net = tf.layers.dense(features['x'], params['hidden'], activation=tf.nn.relu, kernel_initializer=tf.variance_scaling_initializer())
    net = tf.layers.batch_normalization(net, training=mode == tf.estimator.ModeKeys.TRAIN)
    net = tf.layers.dropout(net, 0.1, training=mode == tf.estimator.ModeKeys.TRAIN)
    logits = tf.layers.dense(net, 1)[:, 0]
    if mode == tf.estimator.ModeKeys.PREDICT:
        outputs = {'y': logits}
        export = {'serving_default': tf.estimator.export.PredictOutput(outputs)}
        return tf.estimator.EstimatorSpec(mode, predictions=outputs, export_outputs=export)
    loss = tf.losses.mean_squared_error(labels, logits)
    if mode == tf.estimator.ModeKeys.EVAL:
        metrics = {'mae': tf.metrics.mean_absolute_error(labels, logits)}
        return tf.estimator.EstimatorSpec(mode, loss=loss, eval_metric_ops=metrics)
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        rate = tf.train.exponential_decay(0.05, tf.train.get_global_step(), 100, 0.9)
        train_op = tf.train.AdamOptimizer(rate).minimize(loss, tf.train.get_or_create_global_step())
    logging = tf.train.LoggingTensorHook({'loss': loss}, every_n_iter=100)
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op, training_hooks=[logging])


def main(unused_argv):
    random = np.random.RandomState(0)
    x = random.uniform(-1, 1, (1000, 3)).astype(np.float32)
    y = (x @ np.array([1.0, -2.0, 0.5]) + 0.3).astype(np.float32)
    config = tf.estimator.RunConfig(tf_random_seed=1, save_checkpoints_steps=200, keep_checkpoint_max=2)
    estimator = tf.estimator.Estimator(model_fn, params={'hidden': 16}, config=config)
    train_input = tf.estimator.inputs.numpy_input_fn({'x': x}, y, batch_size=50, num_epochs=None, shuffle=True)
    eval_input = tf.estimator.inputs.numpy_input_fn({'x': x}, y, batch_size=50, num_epochs=1, shuffle=False)
    hook = CountingHook()
    tf.estimator.train_and_evaluate(
        estimator,
        tf.estimator.TrainSpec(train_input, max_steps=400, hooks=[hook, tf.train.StepCounterHook(100)]),
        tf.estimator.EvalSpec(eval_input, steps=None, throttle_secs=0, start_delay_secs=0))
    result = estimator.evaluate(eval_input)
    first = next(estimator.predict(eval_input))
    print('RESULT', result['mae'], result['global_step'], hook.steps, float(first['y']))
    assert result['global_step'] == 400
    assert result['mae'] < 0.5


if __name__ == '__main__':
    tf.app.run()
