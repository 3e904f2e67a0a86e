from .. import __version__
from .dense import build

__all__ = ["build", "__version__"]
