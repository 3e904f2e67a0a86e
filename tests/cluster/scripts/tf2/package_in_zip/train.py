"""A package of several modules with relative imports and data files in the zip; only the program itself is outside."""
import settings
from flowers import __version__, data
from flowers.models import build

features, labels = data.load()
model = build(features.shape[1], len(data.names()))
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(features, labels, epochs=settings.EPOCHS, verbose=2)
print("RESULT", __version__, data.names(), settings.EPOCHS)
assert data.names() == ["daisy", "rose", "tulip"]
