"""A traceback of any length keeps the user's deepest frame and the line that names the exception."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.messages import contract
from tftrainer.messages.contract import Failure, Reason, RunReport
from tftrainer.messages.excerpt import GAP, excerpt

OWN = '  File "/workspace/code/lib/data.py", line 7, in load\n    return parse(text)\n'


def _traceback(before: int, after: int, message: str) -> str:
    library = "".join(
        f'  File "/usr/lib/keras/{n}.py", line {n}, in call\n    return self.inner_{n}(*args, **kwargs)\n' for n in range(before)
    )
    below = library.replace("keras", "numpy") * (after // max(before, 1))
    return f"Traceback (most recent call last):\n{library}{OWN}{below}ValueError: {message}\n"


@pytest.mark.parametrize("limit", [512, 1024])
@pytest.mark.parametrize(
    "message", ["too short", "x" * 20_000 + "\nsecond line", "a\n" * 5000, 'in user code:\n\n    File "k.py", line 1\n']
)
@pytest.mark.parametrize(("before", "after"), [(1, 0), (40, 0), (1, 40), (40, 200)])
def test_the_users_deepest_frame_and_the_exception_stay_whatever_the_length(before: int, after: int, message: str, limit: int) -> None:
    whole = _traceback(before, after, message)
    found = excerpt(whole, limit, "lib/data.py", 7)
    assert len(found) <= limit
    assert OWN in found
    assert f"\nValueError: {message.splitlines()[0][:100]}" in found
    assert GAP in found or "…" in found or found == whole


def test_a_traceback_that_fits_is_not_touched() -> None:
    text = _traceback(1, 0, "x")
    assert excerpt(text, len(text), "lib/data.py", 7) == text


@given(st.text(max_size=3000), st.integers(1, 1200), st.text(max_size=20), st.none() | st.integers(0, 20))
def test_any_text_is_cut_to_its_limit(text: str, limit: int, file: str, line: int | None) -> None:
    assert len(excerpt(text, limit, file, line)) <= limit


def test_a_report_that_has_to_be_short_keeps_the_users_frame_too() -> None:
    whole = excerpt(_traceback(40, 200, "y" * 3000), 1024, "lib/data.py", 7)
    failure = Failure(reason=Reason.SCRIPT_RAISED, message="é" * 900, hint="ö" * 400, traceback=whole, file="lib/data.py", line=7)
    encoded = contract.encode_report(RunReport(exit_code=1, failure=failure), 3600)
    found = contract.decode_report(encoded.decode(), RunReport).failure
    assert found is not None
    assert len(found.traceback) <= 512
    assert OWN in found.traceback
    assert "\nValueError: yyy" in found.traceback
