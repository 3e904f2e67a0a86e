"""Kubernetes quantities as numbers."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_PATTERN: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)(m|[kMGTPE]|[KMGTPE]i)?")
_UNITS: Final = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)},
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)},
}


def amount(quantity: str) -> int:
    """Return a quantity as a whole number (bytes, for sizes), rounded up.

    Raises:
        ValueError: as of `exact`.

    """
    return int(exact(quantity).to_integral_value(rounding="ROUND_CEILING"))


def is_quantity(text: str) -> bool:
    """Tell whether `exact` takes a text."""
    return _PATTERN.fullmatch(text) is not None


def exact(quantity: str) -> Decimal:
    """Return a quantity as the number that it is.

    Raises:
        ValueError: it is not a quantity; the text names it.

    """
    match = _PATTERN.fullmatch(quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is not a quantity such as 512Mi, 4Gi or 500m")
    return Decimal(match[1]) * _UNITS[match[2] or ""]
