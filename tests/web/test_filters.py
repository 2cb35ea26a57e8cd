"""How values read."""

from datetime import timedelta

import pytest

from rm.web import drawings, filters


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "unknown"), (0, "0 B"), (999, "999 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"),
        (2**20 - 1, "1.0 MiB"), (150 * 2**30, "150 GiB"), (2**60 * 5000, "5000 EiB"),
    ],
)  # fmt: skip
def test_sizes_read_like_restics_own(count: int | None, text: str) -> None:
    assert filters.size(count) == text


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (None, "unknown"), (0, "0 s"), (1.24, "1.2 s"), (3.0, "3 s"), (41, "41 s"), (188, "3 min 8 s"),
        (3600, "1 h"), (3661, "1 h 1 min"), (90061, "1 d 1 h"), (timedelta(seconds=61), "1 min 1 s"),
    ],
)  # fmt: skip
def test_durations_read_in_two_units(span: float | timedelta | None, text: str) -> None:
    assert filters.duration(span) == text


def test_percent_never_claims_the_end_too_early() -> None:
    assert filters.percent(99.97) == "99 %"
    assert filters.percent(100) == "100 %"
    assert filters.percent(None) == "unknown"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("plain ünïcode 日本", "plain ünïcode 日本"),
        ("a\nb\tc\x1b", "a␊b␉c␛"),
        ("\x7f\x85", "␡\N{REPLACEMENT CHARACTER}"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
        ("\udcff", "\N{REPLACEMENT CHARACTER}"),
        (7, "7"),
    ],
)
def test_text_from_elsewhere_cannot_disguise_itself(raw: object, text: str) -> None:
    assert filters.clean(raw) == text


def test_a_command_keeps_its_lines() -> None:
    assert filters.clean_lines("a\nb\x1b") == "a\nb␛"


def test_rates_and_sparklines_survive_odd_samples() -> None:
    assert drawings.rates([]) == []
    assert drawings.rates([(0, 10), (0, 5), (2, 25)]) == [0.0, 10.0]
    assert drawings.spark_path([1], 10, 10, is_area=False) == ""
    assert drawings.spark_path([5, 5], 10, 10, is_area=False).startswith("M0.0")
    assert len(drawings.thinned(list(range(1000)))) == 60


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, ""), ("web-3", "web-3"), ("twelve chars", "twelve chars"), ("0123456789 and more", "0123456789…"),
        ("one-word-without-any-space", "one-word-wi…"),
    ],
)  # fmt: skip
def test_a_text_that_is_cut_says_so_and_ends_behind_a_word_where_one_ends_near(text: object, shown: str) -> None:
    assert filters.short(text, 12) == shown


def test_a_long_text_is_shown_by_its_start_and_kept_whole() -> None:
    start, whole = filters.split_long("x" * 4096)

    assert (len(start), start[-1], whole) == (filters.LONG_START, "…", "x" * 4096)
    assert filters.split_long("x" * filters.LONG) == ("x" * filters.LONG, "")
