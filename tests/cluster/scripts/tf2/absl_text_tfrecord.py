"""absl's app, flags and logging around a text classifier: TextVectorization, an LSTM, TFRecord files in shards."""
import os

import tensorflow as tf
from absl import app, flags, logging

FLAGS = flags.FLAGS
flags.DEFINE_string("data_dir", None, "Where the shards go.", required=True)
flags.DEFINE_integer("epochs", 4, "How many times over the data.", lower_bound=1)
flags.DEFINE_enum("cell", "lstm", ["lstm", "gru"], "The recurrent cell.")
flags.DEFINE_bool("shuffle", True, "Shuffle the data.")
flags.DEFINE_list("classes", "bad,good", "The names of the classes.")

GOOD = ["what a lovely film", "great acting and great music", "i loved it", "a wonderful evening"]
BAD = ["what a boring film", "terrible acting and no music", "i hated it", "a wasted evening"]


def example(text, label):
    feature = {
        "text": tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode()])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def parse(record):
    schema = {"text": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}
    parsed = tf.io.parse_single_example(record, schema)
    return parsed["text"], parsed["label"]


def main(argv):
    if len(argv) > 1:
        raise app.UsageError("Too many command-line arguments.")
    tf.keras.utils.set_random_seed(1)
    os.makedirs(FLAGS.data_dir, exist_ok=True)
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    for shard in range(3):
        with tf.io.TFRecordWriter(os.path.join(FLAGS.data_dir, f"train-{shard:05d}-of-00003.gz"), options) as writer:
            for _ in range(20):
                for text in GOOD:
                    writer.write(example(text, 1))
                for text in BAD:
                    writer.write(example(text, 0))
    files = tf.data.Dataset.list_files(os.path.join(FLAGS.data_dir, "train-*"), shuffle=FLAGS.shuffle, seed=1)
    data = files.interleave(lambda name: tf.data.TFRecordDataset(name, "GZIP"), cycle_length=3, deterministic=True).map(parse)
    data = data.shuffle(500, seed=1).batch(32)
    vectorize = tf.keras.layers.TextVectorization(max_tokens=100, output_sequence_length=8)
    vectorize.adapt(data.map(lambda text, _: text))
    cell = {"lstm": tf.keras.layers.LSTM, "gru": tf.keras.layers.GRU}[FLAGS.cell]
    model = tf.keras.Sequential([tf.keras.layers.Embedding(100, 8, mask_zero=True), cell(8), tf.keras.layers.Dense(1, activation="sigmoid")])
    model.compile(tf.keras.optimizers.Adam(0.03), "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(data.map(lambda text, label: (vectorize(text), label)), epochs=FLAGS.epochs, verbose=0)
    logging.info("accuracy %.3f", history.history["accuracy"][-1])
    score = model.predict(vectorize(tf.constant(["what a lovely evening"])), verbose=0)[0, 0]
    print("RESULT", FLAGS.classes[int(score > 0.5)], float(score), history.history["accuracy"][-1])
    assert history.history["accuracy"][-1] > 0.9


if __name__ == "__main__":
    app.run(main)
