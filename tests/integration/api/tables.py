"""What the API server is seen to accept and to refuse, in files that anybody can read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

_REPEATED = re.compile(r"\{([0-9]+)[*](.)\}")


def _table(name: str) -> dict[str, Any]:
    """Return the cases of a table, repetitions written out."""
    text = (Path(__file__).parent / name).read_text(encoding="utf-8")
    # Written out they are long, and each process that collects tests reads them.
    read: dict[str, Any] = yaml.load(_REPEATED.sub(lambda match: int(match[1]) * match[2], text), yaml.CSafeLoader)
    return read


ACCEPTED, REFUSED = _table("accepted.yaml"), _table("refused.yaml")
