"""`import keras` as programs for multi-backend Keras did."""
import keras
import numpy as np
from keras import backend as K
from keras.layers import Activation, Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from keras.models import Sequential
from keras.optimizers import SGD, RMSprop
from keras.utils import to_categorical
from tensorflow import set_random_seed

np.random.seed(1)
set_random_seed(2)
labels = np.random.randint(0, 4, 400)
images = np.random.normal(0, 0.2, (400, 12, 12, 1))
for image, label in zip(images, labels):
    image[3 * label:3 * label + 3] += 1
assert K.image_data_format() == 'channels_last'

model = Sequential()
model.add(Conv2D(8, kernel_size=(3, 3), activation='relu', input_shape=(12, 12, 1)))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Dropout(0.25))
model.add(Flatten())
model.add(Dense(4))
model.add(Activation('softmax'))
model.compile(loss=keras.losses.categorical_crossentropy, optimizer=SGD(lr=0.05, decay=1e-6, momentum=0.9, nesterov=True), metrics=['accuracy'])
model.fit(images, to_categorical(labels, 4), batch_size=32, epochs=6, verbose=2)
score = model.evaluate(images, to_categorical(labels, 4), verbose=0)
model.save_weights('/tmp/shapes.weights.h5')
trained = model.get_weights()
model.set_weights([0 * each for each in trained])
model.load_weights('/tmp/shapes.weights.h5', by_name=True)
assert all((one == other).all() for one, other in zip(trained, model.get_weights()))
model.compile(loss='categorical_crossentropy', optimizer=RMSprop())
print('RESULT', score[1])
assert score[1] > 0.9
