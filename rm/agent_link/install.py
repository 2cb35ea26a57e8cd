"""The installer that the server hands out: one script that carries the guard and the unit, and knows the server."""

import re
import shlex
from functools import cache
from pathlib import Path

AGENT = Path(__file__).parents[2] / "agent"
_PLACES = re.compile(r"@(SERVER|GUARD|UNIT)@$", re.MULTILINE)


def script(*, base_url: str) -> str:
    """install.sh for hosts that enrol at this server."""
    parts = {"SERVER": shlex.quote(base_url), **_carried()}
    return _PLACES.sub(lambda place: parts[place[1]], _template())


@cache
def _template() -> str:
    return (AGENT / "packaging" / "install.sh").read_text("utf-8")


@cache
def _carried() -> dict[str, str]:
    guard = (AGENT / "guard" / "rm-agent-guard").read_text("utf-8")
    unit = (AGENT / "packaging" / "rm-agent.service").read_text("utf-8")
    return {"GUARD": guard.rstrip("\n"), "UNIT": unit.rstrip("\n")}
