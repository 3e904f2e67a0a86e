"""A tf.Module with signatures, tf.saved_model.save and load, a vocabulary as asset, and a Keras model's export."""
import os
import sys

import tensorflow as tf

export_dir = sys.argv[1]
vocabulary = os.path.join(os.path.dirname(export_dir) or ".", "vocabulary.txt")
os.makedirs(os.path.dirname(vocabulary), exist_ok=True)
with open(vocabulary, "w", encoding="utf-8") as file:
    file.write("".join(f"{word}\n" for word in ("null", "eins", "zwei", "drei", "größe")))


class Words(tf.Module):
    def __init__(self):
        super().__init__()
        self.asset = tf.saved_model.Asset(vocabulary)
        initializer = tf.lookup.TextFileInitializer(
            self.asset, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER)
        self.table = tf.lookup.StaticHashTable(initializer, default_value=-1)
        self.weight = tf.Variable(2.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "words")])
    def number(self, words):
        return {"number": self.table.lookup(words)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
    def step(self, target):
        with tf.GradientTape() as tape:
            loss = tf.square(self.weight - target)
        self.weight.assign_sub(0.1 * tape.gradient(loss, self.weight))
        return loss


module = Words()
losses = [float(module.step(5.0)) for _ in range(30)]
tf.saved_model.save(module, os.path.join(export_dir, "1"), signatures={"serving_default": module.number, "step": module.step})
loaded = tf.saved_model.load(os.path.join(export_dir, "1"))
numbers = loaded.signatures["serving_default"](words=tf.constant(["zwei", "größe", "elf"]))["number"].numpy().tolist()

model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(2)])
model.export(os.path.join(export_dir, "2"))
served = tf.saved_model.load(os.path.join(export_dir, "2"))
difference = float(tf.reduce_max(tf.abs(served.serve(tf.ones((1, 4))) - model(tf.ones((1, 4))))))
print("RESULT", numbers, losses[-1], difference, sorted(loaded.signatures))
assert numbers == [2, 4, -1] and losses[-1] < 0.1 and difference < 1e-5
