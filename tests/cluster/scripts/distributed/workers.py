"""Two workers of MultiWorkerMirroredStrategy fit a line together, with a loop of their own; each saves, and that of worker 0 counts.

With `--checkpoints` they save half-way, and go on from there when they find that. The step is even, as there are two batches: what
comes after it is the same to the last digit, whether they went on at once or began again.
"""

import argparse
import json
import os
import signal
import time

import tensorflow as tf

parser = argparse.ArgumentParser()
parser.add_argument("--out", required=True)
parser.add_argument("--steps", type=int, default=32)
parser.add_argument("--fail-worker", type=int, default=-1)
parser.add_argument("--freeze-worker", type=int, default=-1)
parser.add_argument("--checkpoints")
parser.add_argument("--pause", action="store_true", help="wait after the checkpoint for an end from outside")
arguments = parser.parse_args()

task = json.loads(os.environ["TF_CONFIG"])["task"]
strategy = tf.distribute.MultiWorkerMirroredStrategy()
print("replicas", strategy.num_replicas_in_sync, "task", task, flush=True)

with strategy.scope():
    model = tf.keras.Sequential([tf.keras.Input((1,)), tf.keras.layers.Dense(1, kernel_initializer="zeros")])
    optimizer = tf.keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)
    done = tf.Variable(0)

x = tf.linspace(0.0, 1.0, 64)[:, None]
data = strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices((x, 3.0 * x + 1.0)).repeat().batch(32))


@tf.function
def step(batch):
    def on_each(features, labels):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(features) - labels)) / strategy.num_replicas_in_sync
        gradients = tape.gradient(loss, model.trainable_variables)
        context = tf.distribute.get_replica_context()
        optimizer.apply_gradients(zip(context.all_reduce("sum", gradients), model.trainable_variables))
        return loss

    return strategy.reduce("sum", strategy.run(on_each, args=batch), axis=None)


def save():
    done.assign(number)
    print("saved", manager.save(), flush=True)
    while arguments.pause:
        time.sleep(1)


manager = None
if arguments.checkpoints:
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, done=done)
    manager = tf.train.CheckpointManager(checkpoint, arguments.checkpoints, max_to_keep=2)
    checkpoint.restore(manager.latest_checkpoint)
    print("goes on from", int(done.read_value()), flush=True)

batches = iter(data)
first = int(done.read_value())
for number in range(first, arguments.steps):
    if manager and number == arguments.steps // 2 > first:
        save()
    loss = float(step(next(batches)))
    if number == 5 and task["index"] == arguments.fail_worker:
        raise ValueError("bad batch")
    if number == 5 and task["index"] == arguments.freeze_worker:
        os.kill(os.getpid(), signal.SIGSTOP)
kernel, bias = (float(each.numpy().ravel()[0]) for each in model.trainable_variables)
print(f"done loss {loss:.6f} kernel {kernel:.6f} bias {bias:.6f}", flush=True)
os.makedirs(arguments.out, exist_ok=True)
with open(os.path.join(arguments.out, f"worker-{task['index']}.json"), "w") as file:
    json.dump({"loss": loss, "kernel": kernel, "bias": bias}, file)
