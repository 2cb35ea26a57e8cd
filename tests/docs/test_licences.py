"""The page of licences lists what the lock files lock, and nothing that a user could not pass on."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "licences.md"
FREE = re.compile(
    r"(MIT|MIT-0|BSD|0BSD|BSD-2-Clause|BSD-3-Clause|Apache-2\.0|ISC|PSF-2\.0|MPL-2\.0|ZPL-2\.1| (OR|AND) )+"
)


def rows() -> list[tuple[str, str]]:
    found = re.findall(r"^\| ([\w.-]+) \| ([^|]+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return [row for row in found if row != ("part", "licence")]


def test_each_package_that_is_locked_is_on_the_page():
    locked = {
        name
        for lock in ("server", "agent")
        for name in re.findall(r"^([\w.-]+)==", (ROOT / "requirements" / f"{lock}.txt").read_text(), re.MULTILINE)
    }

    shown = {re.sub(r"[-_.]+", "-", name).lower() for name, _ in rows()}

    # The lock of the server also serves systems whose Python lacks a part that this one has.
    assert {re.sub(r"[-_.]+", "-", name).lower() for name in locked} - shown <= {"colorama", "async-timeout"}


def test_each_licence_lets_a_user_pass_it_on():
    assert [row for row in rows() if not FREE.fullmatch(row[1])] == []
