"""Feature columns, a wide-and-deep Estimator, CSV input by tf.gfile, flags by argparse before tf.app.run, an export for serving."""
import argparse
import os
import random
import sys

import tensorflow as tf

_COLUMNS = ['age', 'education', 'hours', 'occupation', 'income']
_DEFAULTS = [[0], [''], [0], [''], ['']]

parser = argparse.ArgumentParser()
parser.add_argument('--model_dir', type=str, default='/tmp/census_model')
parser.add_argument('--model_type', type=str, default='wide_deep', choices=['wide', 'deep', 'wide_deep'])
parser.add_argument('--train_epochs', type=int, default=4)
parser.add_argument('--batch_size', type=int, default=40)


def write_data(path, rows, seed):
    draw = random.Random(seed)
    with tf.gfile.Open(path, 'w') as file:
        for _ in range(rows):
            age, hours = draw.randint(18, 70), draw.randint(10, 60)
            education = draw.choice(['HS-grad', 'Bachelors', 'Masters'])
            occupation = draw.choice(['Sales', 'Tech-support', 'Farming', 'Other'])
            rich = hours > 38 and education != 'HS-grad' or age > 60
            file.write('%d,%s,%d,%s,%s\n' % (age, education, hours, occupation, '>50K' if rich else '<=50K'))


def build_model_columns():
    age = tf.feature_column.numeric_column('age', normalizer_fn=lambda value: (tf.cast(value, tf.float32) - 44.0) / 15.0)
    hours = tf.feature_column.numeric_column('hours', normalizer_fn=lambda value: (tf.cast(value, tf.float32) - 35.0) / 15.0)
    education = tf.feature_column.categorical_column_with_vocabulary_list('education', ['HS-grad', 'Bachelors', 'Masters'])
    occupation = tf.feature_column.categorical_column_with_hash_bucket('occupation', hash_bucket_size=100)
    buckets = tf.feature_column.bucketized_column(tf.feature_column.numeric_column('age'), boundaries=[25, 35, 45, 55, 60])
    wide = [education, occupation, buckets, tf.feature_column.crossed_column(['education', 'occupation'], hash_bucket_size=100)]
    deep = [age, hours, tf.feature_column.indicator_column(education), tf.feature_column.embedding_column(occupation, dimension=4)]
    return wide, deep


def input_fn(data_file, num_epochs, shuffle, batch_size):
    assert tf.gfile.Exists(data_file), '%s not found' % data_file

    def parse_csv(value):
        tf.logging.info('Parsing {}'.format(data_file))
        features = dict(zip(_COLUMNS, tf.decode_csv(value, record_defaults=_DEFAULTS)))
        return features, tf.equal(features.pop('income'), '>50K')

    dataset = tf.data.TextLineDataset(data_file)
    if shuffle:
        dataset = dataset.shuffle(buffer_size=1000)
    return dataset.map(parse_csv, num_parallel_calls=2).repeat(num_epochs).batch(batch_size)


def build_estimator(model_dir, model_type):
    wide, deep = build_model_columns()
    config = tf.estimator.RunConfig(tf_random_seed=3).replace(session_config=tf.ConfigProto(device_count={'GPU': 0}))
    if model_type == 'wide':
        return tf.estimator.LinearClassifier(model_dir=model_dir, feature_columns=wide, config=config)
    if model_type == 'deep':
        return tf.estimator.DNNClassifier(model_dir=model_dir, feature_columns=deep, hidden_units=[20, 10], config=config)
    return tf.estimator.DNNLinearCombinedClassifier(
        model_dir=model_dir, linear_feature_columns=wide, dnn_feature_columns=deep, dnn_hidden_units=[20, 10], config=config)


def main(unused_argv):
    tf.gfile.MakeDirs(FLAGS.model_dir)
    train, test = os.path.join(FLAGS.model_dir, 'train.csv'), os.path.join(FLAGS.model_dir, 'test.csv')
    write_data(train, 1000, 1)
    write_data(test, 300, 2)
    model = build_estimator(FLAGS.model_dir, FLAGS.model_type)
    model.train(input_fn=lambda: input_fn(train, FLAGS.train_epochs, True, FLAGS.batch_size))
    results = model.evaluate(input_fn=lambda: input_fn(test, 1, False, FLAGS.batch_size))
    for key in sorted(results):
        print('%s: %s' % (key, results[key]))
    wide, deep = build_model_columns()
    spec = tf.feature_column.make_parse_example_spec(wide + deep)
    receiver = tf.estimator.export.build_parsing_serving_input_receiver_fn(spec)
    exported = model.export_savedmodel(os.path.join(FLAGS.model_dir, 'export'), receiver)
    assert tf.saved_model.loader.maybe_saved_model_directory(exported.decode())
    print('RESULT', results['accuracy'], exported.decode())
    assert results['accuracy'] > results['accuracy_baseline']


if __name__ == '__main__':
    tf.logging.set_verbosity(tf.logging.INFO)
    FLAGS, unparsed = parser.parse_known_args()
    tf.app.run(main=main, argv=[sys.argv[0]] + unparsed)
