"""Numbers with their nouns."""

import pytest

from rm.shared.words import counted


@pytest.mark.parametrize(("number", "text"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (12_345, "12,345 files")])
def test_a_noun_follows_its_number(number: int, text: str) -> None:
    assert counted(number, "file") == text


def test_an_irregular_noun_names_its_plural() -> None:
    assert [counted(1, "entry", "entries"), counted(2, "entry", "entries")] == ["1 entry", "2 entries"]
