"""The note on outputs is one that a status takes, and what it says is whole."""

from __future__ import annotations

from tftrainer.messages.manifest import Kept, KeptBecause
from tftrainer.phase_error import TEXT_LIMIT
from tftrainer.publish.note import MORE, Facts, note


def kept(number: int, because: KeptBecause) -> Kept:
    path = f"bucket/{number}/{'x' * 250}"
    return Kept(path=path, key=f"kept/{path}", instead_of=path.removeprefix("bucket/"), size=1, sha256="", because=because)


def test_a_note_that_would_be_too_long_ends_after_a_sentence_and_says_that_there_is_more() -> None:
    facts = Facts(
        "s3://models/kept/",
        [kept(number, because) for because in (KeptBecause.CHANGED_MEANWHILE, KeptBecause.CUT_SHORT) for number in range(9)],
        left_running=1,
    )
    text = note(facts, lambda key: f"s3://models/{key}")
    assert len(text) <= TEXT_LIMIT
    assert text.startswith("Somebody else wrote s3://models/0/")
    assert text.endswith(f"and 6 more while the job ran: theirs stays, and this run's is kept in s3://models/kept/.{MORE}")


def test_a_note_of_one_sentence_that_is_too_long_loses_its_middle() -> None:
    text = note(Facts("s3://models/kept/" + "y" * 900, [kept(1, KeptBecause.CUT_SHORT)]), lambda key: f"s3://models/{key}")
    assert len(text) == TEXT_LIMIT
    assert text.startswith("The end of the script may have cut short s3://models/1/")
    assert text.endswith(f"y.{MORE}")


def test_a_note_that_has_room_is_whole() -> None:
    assert note(Facts("f", left_running=1), str) == "1 process that the script left running was killed at its end."
    assert note(Facts("f", memory_kills=2), str) == (
        "The kernel killed 2 processes of the script for want of memory (spec.resources.memory); their work may be missing."
    )
    assert note(Facts("f"), str) == ""
