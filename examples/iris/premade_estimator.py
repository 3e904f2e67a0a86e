"""Classifies irises with a premade Estimator, in the way of TensorFlow 1.

Trains, evaluates, predicts three flowers, and exports the model.
"""

import argparse
import sys

import iris_data
import tensorflow as tf

parser = argparse.ArgumentParser()
parser.add_argument("--train_path", required=True, help="CSV file to learn from")
parser.add_argument("--test_path", required=True, help="CSV file to measure the accuracy with")
parser.add_argument("--export_dir", required=True, help="folder that the model is exported to, below a folder named by the time")
parser.add_argument("--batch_size", default=100, type=int, help="flowers per step")
parser.add_argument("--train_steps", default=1000, type=int, help="steps to train")
parser.add_argument("--seed", default=1, type=int, help="start of the random numbers")

FLOWERS = {
    "SepalLength": [5.1, 5.9, 6.9],
    "SepalWidth": [3.3, 3.0, 3.1],
    "PetalLength": [1.7, 4.2, 5.4],
    "PetalWidth": [0.5, 1.5, 2.1],
}
EXPECTED = ["Setosa", "Versicolor", "Virginica"]


def serving_input_receiver():
    """Take a string vector, four numbers for each flower: {"inputs": ["5.1", "3.3", "1.7", "0.5"]}."""
    inputs = tf.placeholder(dtype=tf.string, shape=[None], name="inputs")
    table = tf.reshape(tf.string_to_number(inputs), [-1, len(iris_data.MEASUREMENTS)])
    features = {name: table[:, column] for column, name in enumerate(iris_data.MEASUREMENTS)}
    return tf.estimator.export.ServingInputReceiver(features, {"inputs": inputs})


def main(argv):
    args = parser.parse_args(argv[1:])
    for path in (args.train_path, args.test_path):
        if not tf.gfile.Exists(path):
            raise OSError(f"there is no file {path}")
    train_x, train_y = iris_data.load_data(args.train_path)
    test_x, test_y = iris_data.load_data(args.test_path)
    tf.logging.info("%d flowers to learn from, %d to test with", len(train_y), len(test_y))

    classifier = tf.estimator.DNNClassifier(
        feature_columns=[tf.feature_column.numeric_column(key=name) for name in iris_data.MEASUREMENTS],
        hidden_units=[10, 10],
        n_classes=len(iris_data.SPECIES),
        optimizer=lambda: tf.train.AdamOptimizer(learning_rate=0.01),
        config=tf.estimator.RunConfig(tf_random_seed=args.seed, log_step_count_steps=200),
    )
    classifier.train(lambda: iris_data.train_input(train_x, train_y, args.batch_size, args.seed), steps=args.train_steps)

    result = classifier.evaluate(lambda: iris_data.eval_input(test_x, test_y, args.batch_size))
    predictions = list(classifier.predict(lambda: iris_data.eval_input(FLOWERS, None, args.batch_size)))
    exported = classifier.export_saved_model(args.export_dir, serving_input_receiver)

    print(f"\nTest set accuracy: {result['accuracy']:0.3f}\n")
    for prediction, expected in zip(predictions, EXPECTED, strict=True):
        found = prediction["class_ids"][0]
        percent = 100 * prediction["probabilities"][found]
        print(f'Prediction is "{iris_data.SPECIES[found]}" ({percent:.1f}%), expected "{expected}"')
    print(f"\nModel exported to {tf.compat.as_str_any(exported)}")


if __name__ == "__main__":
    tf.logging.set_verbosity(tf.logging.INFO)
    tf.app.run(main, argv=sys.argv)
