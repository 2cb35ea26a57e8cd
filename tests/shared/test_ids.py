"""ULIDs as their specification has them."""

import pytest

from rm.shared import ids


@pytest.mark.parametrize(
    ("text", "at_ms", "tail"),
    [
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", 1469922850259, 0xD6764C61EFB99302BD5B),
        ("00000000000000000000000000", 0, 0),
        ("7ZZZZZZZZZZZZZZZZZZZZZZZZZ", 2**48 - 1, 2**80 - 1),
    ],
)
def test_an_id_is_time_and_tail_in_crockfords_digits(text, at_ms, tail):
    assert ids.ulid(at_ms, tail) == text
    assert ids.milliseconds_of(text) == at_ms
    assert ids.is_ulid(text)


def test_ids_sort_by_their_moment():
    assert ids.new_ulid(1000) < ids.new_ulid(1001) < ids.new_ulid()
