"""Surrogates: the two halves by which JSON escapes a character beyond U+FFFF, such as an emoji; a half alone is no character."""

from __future__ import annotations


def joined(text: str) -> str:
    """Return the text with each pair as the one character that it means."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def lone(text: str) -> str:
    """Return the first half without its other, escaped; empty if there is none."""
    return next((ascii(character)[1:-1] for character in text if "\ud800" <= character <= "\udfff"), "")
