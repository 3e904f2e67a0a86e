"""tf.keras as TF 1.x programs used it: the import forms, sessions from the backend, fit with a generator, save and load, an RNN."""
import os
import tempfile

import numpy as np
import tensorflow as tf
import tensorflow.keras.layers as layers
from tensorflow import keras
from tensorflow.keras import backend as K
from tensorflow.keras.callbacks import EarlyStopping, ModelCheckpoint, TensorBoard
from tensorflow.keras.models import Sequential
from tensorflow.keras.optimizers import SGD, Adam
from tensorflow.python.framework import ops
from tensorflow.python.keras.utils import data_utils  # noqa: F401 - old programs reach in here
import tensorflow.compat.v1 as tf1
import tensorflow.compat.v2 as tf2

assert tf1.Session is tf.Session and not tf2.executing_eagerly()
K.set_session(tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=2)))
np.random.seed(0)
tf.set_random_seed(0)
folder = tempfile.mkdtemp()

x = np.random.normal(size=(600, 8)).astype('float32')
y = (x.sum(axis=1) > 0).astype('int32')

model = Sequential()
model.add(layers.Dense(16, activation='relu', input_shape=(8,)))
model.add(layers.BatchNormalization())
model.add(layers.Dropout(0.2))
model.add(layers.Dense(2, activation='softmax'))
model.compile(loss='sparse_categorical_crossentropy', optimizer=Adam(lr=0.01), metrics=['accuracy'])
best = os.path.join(folder, 'best.h5')
history = model.fit(x, y, epochs=8, batch_size=32, validation_split=0.2, verbose=2,
                    callbacks=[EarlyStopping(patience=5), ModelCheckpoint(best, save_best_only=True), TensorBoard(folder)])
assert 'val_acc' in history.history or 'val_accuracy' in history.history
loss, accuracy = model.evaluate(x, y, verbose=0)
for name in ('epoch{epoch:02d}.h5', 'epoch{epoch:02d}.weights.h5'):
    model.fit(x, y, verbose=0, callbacks=[ModelCheckpoint(os.path.join(folder, name), save_weights_only=True)])
    trained = model.get_weights()
    model.set_weights([0 * each for each in trained])
    model.load_weights(os.path.join(folder, name.format(epoch=1)))
    assert all((one == other).all() for one, other in zip(trained, model.get_weights()))
again = keras.models.load_model(best)
assert again.predict(x[:5]).shape == (5, 2)
assert [name for name in os.listdir(folder) if 'tfevents' in name or os.path.isdir(os.path.join(folder, name))]

inputs = keras.Input(shape=(10, 3))
net = layers.LSTM(8)(inputs)
net = layers.Lambda(lambda t: K.l2_normalize(t, axis=1))(net)
functional = keras.Model(inputs, layers.Dense(1)(net))
functional.compile('rmsprop', tf.keras.losses.mean_squared_error)


def batches():
    while True:
        block = np.random.normal(size=(16, 10, 3))
        yield block, block.mean(axis=(1, 2))


functional.fit_generator(batches(), steps_per_epoch=10, epochs=1, verbose=0)
with K.get_session().graph.as_default():
    assert ops.get_default_graph() is K.get_session().graph
assert isinstance(SGD(lr=0.1, momentum=0.9, decay=1e-6, nesterov=True), tf.keras.optimizers.Optimizer)
print('RESULT', accuracy, tf.__version__)
assert accuracy > 0.85
