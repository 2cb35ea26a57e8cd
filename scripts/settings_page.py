"""Writes docs/settings.md from rm/config.py; a test checks that the page is current."""

import dataclasses
import sys
from pathlib import Path

from rm.config import Settings

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "settings.md"

_INTRODUCTION = """# Settings of the server

*Generated from `rm/config.py` by `make docs`; edit that module, not this page.*

The server reads its settings from the environment, once, at start. A value that cannot be read stops the start with
the name of the variable. A secret can also come from a file: set the variable with `_FILE` at its end to the file's
path; both at once is an error. What people change while the server runs is in the database, not here.

| variable | default | |
|---|---|---|
"""

_NOTES = """
## The data directory

`restic-manager.db` is the database; it holds everything but the key, with `-wal` and `-shm` beside it while the server
runs. `secret.key` seals the repositories' passwords in it. It is made at the first start and never overwritten. Keep a
copy of it elsewhere: without it those passwords are lost; whoever has it and the database can read them.

One server runs on a data directory at a time; a second one refuses to start.
"""


def page() -> str:
    """The whole page."""
    return _INTRODUCTION + "".join(_row(spec) for spec in dataclasses.fields(Settings)) + _NOTES


def _row(spec: "dataclasses.Field[object]") -> str:
    name = spec.metadata["env"]
    also = f" (or `{name}_FILE`)" if spec.metadata["is_secret"] else ""
    empty = spec.default in (None, "", ())
    return (
        f"| `{name}`{also} | {'–' if empty else f'`{spec.default}`'} | {spec.metadata['help'].replace('<', '&lt;')} |\n"
    )


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
