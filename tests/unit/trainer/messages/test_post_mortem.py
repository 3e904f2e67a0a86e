"""The last lines of a text, as a post-mortem has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.messages.post_mortem import LINE_LIMIT, LINES, last_lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ()),
        ("\n\n", ()),
        ("one", ("one",)),
        ("one\n\ntwo\n", ("one", "", "two")),
        ("1/9\r2/9\r9/9\r\nnext\n", ("9/9", "next")),
        ("x" * 5000 + "end\n", ("x" * (LINE_LIMIT - 3) + "end",)),
    ],
)
def test_lines_are_as_a_terminal_shows_them(text: str, lines: tuple[str, ...]) -> None:
    assert last_lines(text) == lines


@given(st.text(alphabet="a\r\n é\x1b", max_size=3000))
def test_there_are_never_too_many_nor_too_long_ones(text: str) -> None:
    found = last_lines(text * 20)
    assert len(found) <= LINES
    assert all(len(line) <= LINE_LIMIT and "\n" not in line for line in found)
