"""The local cluster is a tool beside the product and is not installed: its folder is put on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "cluster"))
