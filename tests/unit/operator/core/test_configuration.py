"""What an admin configures: sizes that no pod could be made with are refused when the operator starts, not when a job comes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError
from tftraining_operator.core.configuration import Outputs, Resources


@pytest.mark.parametrize("size", ["9" * 18 + "Ti", "4194304Ti", "9" * 30, "9" * 30 + "Gi"])
@pytest.mark.parametrize(
    "configured",
    [
        lambda size: Resources(workspace=size),
        lambda size: Resources(shared_memory=size),
        lambda size: Outputs(keep_outside_bucket=size),
    ],
    ids=["workspace", "sharedMemory", "keepOutsideBucket"],
)
def test_a_size_that_no_plan_can_carry_is_refused_with_its_value(configured: Callable[[str], object], size: str) -> None:
    with pytest.raises(ValidationError, match=f"{size}.*(expected less than 4194304Ti|is not a quantity such as)"):
        configured(size)


@pytest.mark.parametrize("size", ["-1", "1.5GiB", "", "x", True, None, 1.5])
def test_what_is_kept_outside_of_the_bucket_is_a_size_or_a_whole_number(size: object) -> None:
    with pytest.raises(ValidationError, match="keepOutsideBucket"):
        Outputs.model_validate({"keepOutsideBucket": size})


def test_the_largest_size_is_taken() -> None:
    assert Outputs.model_validate({"keepOutsideBucket": 10**18 - 1}).keep_outside_bucket == str(10**18 - 1)
