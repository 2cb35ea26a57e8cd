"""The installer that the server hands out: one script that carries the guard and the units, and knows the server."""

import re
import shlex
from functools import cache
from pathlib import Path

AGENT = Path(__file__).parents[2] / "agent"
_PLACES = re.compile(r"@(SERVER|GUARD|UNIT|TRIAL_PATH|TRIAL_SERVICE)@$", re.MULTILINE)


def script(*, base_url: str) -> str:
    """install.sh for hosts that enrol at this server."""
    parts = {"SERVER": shlex.quote(base_url), **_carried()}
    return _PLACES.sub(lambda place: parts[place[1]], _template())


@cache
def _template() -> str:
    return (AGENT / "packaging" / "install.sh").read_text("utf-8")


@cache
def _carried() -> dict[str, str]:
    files = {
        "GUARD": AGENT / "guard" / "rm-agent-guard",
        "UNIT": AGENT / "packaging" / "rm-agent.service",
        "TRIAL_PATH": AGENT / "packaging" / "rm-agent-trial.path",
        "TRIAL_SERVICE": AGENT / "packaging" / "rm-agent-trial.service",
    }
    return {name: file.read_text("utf-8").rstrip("\n") for name, file in files.items()}
