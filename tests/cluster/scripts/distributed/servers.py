"""ParameterServerStrategy: the chief coordinates, workers and parameter servers serve it, and never end by themselves.

A checkpoint is written where the chief is: by default each parameter server writes its part onto its own disk.
"""

import argparse
import json
import os
import time

import tensorflow as tf

parser = argparse.ArgumentParser()
parser.add_argument("--out", required=True)
parser.add_argument("--checkpoints")
parser.add_argument("--pause", action="store_true", help="wait after the checkpoint for an end from outside")
arguments = parser.parse_args()

resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
if resolver.task_type in ("worker", "ps"):
    server = tf.distribute.Server(resolver.cluster_spec(), job_name=resolver.task_type, task_index=resolver.task_id, protocol="grpc", start=True)
    print("serving as", resolver.task_type, resolver.task_id, flush=True)
    server.join()

strategy = tf.distribute.ParameterServerStrategy(resolver)
coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
with strategy.scope():
    weight = tf.Variable(0.0)
    bias = tf.Variable(0.0)
    done = tf.Variable(0)


@tf.function
def step():
    x = tf.random.uniform((32,))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(weight * x + bias - (3.0 * x + 1.0)))
    down, across = tape.gradient(loss, (weight, bias))
    weight.assign_sub(0.2 * down)
    bias.assign_sub(0.2 * across)
    return loss


checkpoint = tf.train.Checkpoint(weight=weight, bias=bias, done=done)
here = tf.train.CheckpointOptions(experimental_io_device="/job:chief")
manager = None
if arguments.checkpoints:
    manager = tf.train.CheckpointManager(checkpoint, arguments.checkpoints, max_to_keep=2)
    checkpoint.restore(manager.latest_checkpoint, options=here)
    print("goes on from", int(done.read_value()), flush=True)

while (reached := int(done.read_value())) < 200:
    for _ in range(100):
        coordinator.schedule(step)
    coordinator.join()
    done.assign(reached + 100)
    if manager:
        print("saved", manager.save(options=here), flush=True)
    while arguments.pause and reached == 0:
        time.sleep(1)
print("done", float(weight.read_value()), float(bias.read_value()), flush=True)
os.makedirs(arguments.out, exist_ok=True)
with open(os.path.join(arguments.out, "line.json"), "w") as file:
    json.dump({"weight": float(weight.read_value()), "bias": float(bias.read_value())}, file)
