"""What a fleet update is made of: itself, its hosts, their attempts, and the actions that move it."""

from dataclasses import dataclass
from datetime import datetime

from rm.domain.fleet_options import Options

OPEN_STATES = ("running", "paused", "halted", "cancelling")
UNFINISHED = ("waiting", "updating", "soaking", "passed_over")

OPEN_ATTEMPT = ("queued", "dispatched", "running", "soaking", "deferred")
SUCCEEDED = "succeeded"


@dataclass(frozen=True)
class Attempt:
    """What is known of the last attempt for a host; `cap_at` is when the fleet stops waiting for a verdict."""

    id: str
    state: str
    phase: str = ""
    is_rollback: bool = False
    is_fenced: bool = False
    cap_at: datetime | None = None
    failure_class: str = ""
    reason: str = ""
    message: str = ""
    is_revert_failed: bool = False
    is_cancel_requested: bool = False
    is_cancelled_by_hand: bool = False
    retry_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_ATTEMPT


@dataclass(frozen=True)
class Member:
    """One host of a fleet update."""

    host_id: str
    name: str
    position: int
    wave: int
    state: str
    changed_at: datetime
    is_online: bool
    agent_seq: int = 0
    is_busy: bool = False
    is_revoked: bool = False
    is_always_on: bool = True
    last_seen_at: datetime | None = None
    verdict: str = "will_update"
    reason: str = ""
    attempt: Attempt | None = None

    @property
    def holds_attempt(self) -> bool:
        return self.attempt is not None and self.attempt.is_open


@dataclass(frozen=True)
class Fleet:
    """A fleet update with its hosts in order; `counted_from` is when the server started or its clock jumped.

    `held_because` is a sentence while the server itself must give no orders; it goes on by itself afterwards.
    """

    state: str
    to_seq: int
    options: Options
    members: tuple[Member, ...]
    is_hard_cancel: bool = False
    is_rolling_back: bool = False
    counted_from: datetime | None = None
    held_because: str = ""


@dataclass(frozen=True)
class Stop:
    """`to` is halted or paused; `closes_unfenced` takes back every order that has not swapped yet."""

    to: str
    reason: str
    host_id: str | None = None
    closes_unfenced: bool = False


@dataclass(frozen=True)
class Settle:
    """A host goes from one state to another; what it means for the whole is part of the same step."""

    host_id: str
    before: str
    after: str
    reason: str = ""
    verdict: str = ""
    stop: Stop | None = None


@dataclass(frozen=True)
class Order:
    """Order the update of a host."""

    host_id: str


@dataclass(frozen=True)
class Retry:
    """Send the order again that a host has put off."""

    host_id: str


@dataclass(frozen=True)
class OrderBack:
    """Order a host back to what it ran before."""

    host_id: str


@dataclass(frozen=True)
class Recall:
    """Take back an order that the host has not got, or has put off; it goes to the state `after`."""

    host_id: str
    reason: str
    after: str = "waiting"


@dataclass(frozen=True)
class CloseAttempt:
    """Ask for the end of an attempt that has not passed the fence."""

    host_id: str


@dataclass(frozen=True)
class Finish:
    """The fleet update ends."""

    state: str
    reason: str = ""


Action = Settle | Order | Retry | OrderBack | Recall | CloseAttempt | Stop | Finish
