"""How an attempt ends before the swap: outcome, one word for programs, and what a person can do."""


class Ended(Exception):
    """The attempt is over and the host untouched; `phase` where it ended, if that is not where it stands."""

    outcome = "failed"

    def __init__(self, reason: str, detail: str, *, phase: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.phase = phase


class Refused(Ended):
    """The host does not do this, and would not if it were asked again."""

    outcome = "refused"


class Failed(Ended):
    """It was tried and did not work."""

    outcome = "failed"


class Deferred(Ended):
    """Not now; the server may ask again with the same attempt."""

    outcome = "deferred"


class Cancelled(Ended):
    """Somebody took the order back, or its time is over."""

    outcome = "cancelled"


class Left(Exception):
    """The agent stops; its next start carries on."""
