"""Loads one SavedModel as a server would, in a process of its own: `python -m tftrainer.model.loader FOLDER DESCRIPTOR PARENT`.

The answer goes, as JSON, to the open file descriptor: what TensorFlow prints cannot be taken for it. A SavedModel is a program:
this process has neither credentials nor a device, and it ends with the process PARENT, which keeps its time.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Final

import msgspec
from msgspec import Meta

SERVING: Final = "serve"
INTERNAL: Final = "__"
ANSWER_LIMIT: Final = 64 * 1024
_TEXT: Final = 400
_PR_SET_PDEATHSIG: Final = 1


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of loading: the names of the signatures, or the error in one line."""

    signatures: Annotated[tuple[Annotated[str, Meta(max_length=256)], ...], Meta(max_length=256)] = ()
    error: Annotated[str, Meta(max_length=2 * _TEXT)] = ""


def load(folder: str) -> Answer:
    """Restore the model into a graph of its own and run its initialisers, as a server does before it answers a request."""
    try:
        import tensorflow.compat.v1 as tf
    except ImportError as error:
        return Answer(error=f"TensorFlow cannot be imported: {_line(error)}")
    try:
        with tf.Graph().as_default(), tf.Session() as session:
            loaded = tf.saved_model.loader.load(session, [SERVING], folder)
            names = sorted(name for name in loaded.signature_def if not name.startswith(INTERNAL))
    except Exception as error:
        return Answer(error=f"{type(error).__name__}: {_line(error)}")
    return Answer(signatures=tuple(name[:256] for name in names[:256]))


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Errors of a running graph begin with headings.
    telling = [line for line in lines if not line.endswith(":") and not line.startswith("Detected at")]
    return next(iter((*telling, *lines)), "no reason is given")[:_TEXT]


def main(arguments: list[str]) -> int:
    """Load the model and answer; 0 also when it cannot be loaded, 1 without a word if nobody waits for it any more."""
    # Here alone: the publisher imports this module too, and has no use for it.
    import ctypes

    folder, descriptor, parent = arguments
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):
        return 1
    answer = msgspec.json.encode(load(folder))
    os.write(int(descriptor), answer)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
