"""What became of one try to deliver something."""

from dataclasses import dataclass

REASON_LIMIT = 300


@dataclass(frozen=True)
class Outcome:
    """Whether the other side took it; `reason` says why not and holds no secret."""

    is_ok: bool
    reason: str = ""


OK = Outcome(True)


def failed(reason: str) -> Outcome:
    """A try that did not arrive, as far as this side knows."""
    one_line = " ".join("".join(char if char.isprintable() else " " for char in reason).split())
    return Outcome(False, one_line[:REASON_LIMIT])
