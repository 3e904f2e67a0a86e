"""A CheckpointManager that goes on where the newest checkpoint is, with the position in the data set kept too, and summaries."""
import argparse
import os

import tensorflow as tf

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--checkpoint_dir", default=os.environ.get("AIP_CHECKPOINT_DIR", "/tmp/checkpoints"))
parser.add_argument("--log_dir", default=os.environ.get("AIP_TENSORBOARD_LOG_DIR", "/tmp/logs"))
parser.add_argument("--steps", type=int, default=50)
args = parser.parse_args()


class Net(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.l1 = tf.keras.layers.Dense(5)

    def call(self, x):
        return self.l1(x)


inputs = tf.range(10.0)[:, None]
labels = inputs * 5.0 + tf.range(5.0)[None, :]


def toy_dataset():
    return tf.data.Dataset.from_tensor_slices({"x": inputs, "y": labels}).repeat().batch(2)


def train(steps):
    net, opt = Net(), tf.keras.optimizers.Adam(0.1)
    iterator = iter(toy_dataset())
    ckpt = tf.train.Checkpoint(step=tf.Variable(1, dtype=tf.int64), optimizer=opt, net=net, iterator=iterator)
    manager = tf.train.CheckpointManager(ckpt, args.checkpoint_dir, max_to_keep=3, step_counter=ckpt.step, checkpoint_interval=10)
    found = manager.restore_or_initialize()
    print("restored from", found, flush=True)
    writer = tf.summary.create_file_writer(args.log_dir)
    for _ in range(steps):
        example = next(iterator)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.abs(net(example["x"]) - example["y"]))
        opt.apply_gradients(zip(tape.gradient(loss, net.trainable_variables), net.trainable_variables))
        with writer.as_default(step=int(ckpt.step)):
            tf.summary.scalar("loss", loss)
        ckpt.step.assign_add(1)
        manager.save(check_interval=True)
    manager.save(check_interval=False)
    return bool(found), int(ckpt.step), float(tf.reduce_mean(tf.abs(net(inputs) - labels)))


tf.keras.utils.set_random_seed(1)
first, again = train(args.steps), train(args.steps)
print("RESULT", first, again, sorted(os.listdir(args.checkpoint_dir)))
assert again[0] and again[1] == first[1] + args.steps and again[2] < first[2]
