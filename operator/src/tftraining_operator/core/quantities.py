"""Kubernetes quantities as numbers."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_PATTERN: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)(m|k|Ki|M|Mi|G|Gi|T|Ti)?")
_UNITS: Final = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("k", "M", "G", "T"), start=1)},
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti"), start=1)},
}


def amount(quantity: str) -> int:
    """Return a quantity as a whole number (bytes, for sizes), rounded up.

    Raises:
        ValueError: it is not a quantity; the text names it.

    """
    match = _PATTERN.fullmatch(quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is not a quantity such as 512Mi, 4Gi or 500m")
    value = Decimal(match[1]) * _UNITS[match[2] or ""]
    return int(value.to_integral_value(rounding="ROUND_CEILING"))
