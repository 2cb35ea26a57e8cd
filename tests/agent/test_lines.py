"""Reading what a program prints, piece by piece and within a time."""

import os
import time
from pathlib import Path

import pytest

from agent.lines import ERROR_BYTES, MAX_PIECE_BYTES, Lines, OutOfTime
from tests.agent.conftest import until

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


def never() -> bool:
    return False


def shell(script: str) -> tuple[str, list[str]]:
    return "/bin/sh", ["-c", script]


def test_pieces_come_whole_and_the_end_is_told() -> None:
    program, arguments = shell("printf 'one\\ntwo'; sleep 0.1; printf ' halves\\nlast'; echo trouble >&2; exit 3")

    with Lines(program, arguments, environment=ENVIRONMENT, is_over=never) as lines:
        found = list(lines.pieces())

    assert found == [b"one", b"two halves", b"last"]
    assert (lines.code, lines.error_text) == (3, "trouble\n")


def test_a_piece_without_end_and_much_complaint_are_not_kept() -> None:
    too_long = MAX_PIECE_BYTES + 1_000_000
    program, arguments = shell(
        f"echo first; head -c {too_long} /dev/zero; echo; echo last; yes error | head -c 300000 >&2"
    )

    with Lines(program, arguments, environment=ENVIRONMENT, is_over=never) as lines:
        found = list(lines.pieces())

    assert found == [b"first", b"last"]
    assert len(lines.error_text) == ERROR_BYTES


def test_when_the_time_is_over_the_program_and_its_children_end(tmp_path: Path) -> None:
    child = tmp_path / "child"
    program, arguments = shell(f"trap '' INT; sh -c 'trap \"\" INT; echo $$ > {child}; exec sleep 600'; sleep 600")

    with pytest.raises(OutOfTime), Lines(program, arguments, environment=ENVIRONMENT, is_over=child.exists) as lines:
        list(lines.pieces())

    until(lambda: child.read_text())
    until(lambda: not _is_alive(int(child.read_text())))


def test_a_reader_that_has_enough_ends_the_program() -> None:
    program, arguments = shell("echo $$; exec yes")

    with Lines(program, arguments, environment=ENVIRONMENT, is_over=never) as lines:
        pid = int(next(lines.pieces()))
    begun = time.monotonic()

    until(lambda: not _is_alive(pid))
    assert time.monotonic() - begun < 40


def _is_alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text() and os.path.exists(f"/proc/{pid}")
    except OSError:
        return False
