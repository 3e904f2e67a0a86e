from __future__ import annotations

import pytest
from tftraining_operator.api.quantities import amount


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("1", 1), ("500m", 1), ("1500m", 2), ("1k", 1000), ("1Ki", 1024), ("2.5Gi", 2684354560), ("1M", 10**6), ("3T", 3 * 10**12)],
)
def test_a_quantity_is_a_number_of_bytes_rounded_up(text: str, value: int) -> None:
    assert amount(text) == value


@pytest.mark.parametrize("text", ["", "-1", "1e3", "1 Gi", "Gi", "1GiB", "٣Gi", "1\n", "9" * 30])
def test_what_is_no_quantity_is_refused_and_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        amount(text)
