"""What a fleet update would do: who is updated, in which wave and place, and how long it takes."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rm.domain.fleet_options import PER_PLATFORM, Options, Share
from rm.errors import Invalid

WILL_UPDATE = "will_update"
OFFLINE = "offline"
TO_UPDATE = (WILL_UPDATE, OFFLINE)

# Order, download, check, swap, restart and hello of one host: what a single update is measured against (5 s).
# With a soak of 60 s that makes 65 s a host: 0.9 h for 50 hosts one at a time, 9 h for 500.
SECONDS_TO_HELLO = 5
SUGGEST_WAVES_FROM_SECONDS = 3600
SUGGESTED_WAVES = (Share(10, is_percent=True), Share(50, is_percent=True))

CANARY_WAVE = 0
FIRST_WAVE = 1


@dataclass(frozen=True)
class Candidate:
    """A host as the plan sees it; the verdict and its reason come from the rules of a single update."""

    host_id: str
    name: str
    verdict: str
    reason: str = ""
    os: str = ""
    arch: str = ""
    init: str = ""
    restic_version: str = ""
    is_servers_own: bool = False

    @property
    def platform(self) -> tuple[str, str, str, str]:
        return (self.os, self.arch, self.init, self.restic_version)


@dataclass(frozen=True)
class Place:
    """Where a host stands in the plan; wave 0 are the canaries, and what is not updated has wave -1."""

    host_id: str
    name: str
    verdict: str
    reason: str
    wave: int
    position: int

    @property
    def is_to_update(self) -> bool:
        return self.verdict in TO_UPDATE


@dataclass(frozen=True)
class Suggestion:
    """A quicker way through a large fleet, with what it would take."""

    canaries: str
    waves: tuple[Share, ...]
    max_in_flight: int
    estimate_seconds: int


@dataclass(frozen=True)
class Plan:
    """Every host with its place, in order; `uncovered` names platforms that no canary stands for."""

    places: tuple[Place, ...]
    estimate_seconds: int
    uncovered: tuple[str, ...]
    suggestion: Suggestion | None

    @property
    def to_update(self) -> list[Place]:
        return [place for place in self.places if place.is_to_update]

    @property
    def waves(self) -> dict[int, int]:
        """How many hosts each wave has, the canaries first."""
        return dict(sorted(Counter(place.wave for place in self.to_update).items()))


def plan(hosts: Sequence[Candidate], options: Options) -> Plan:
    """The plan for these hosts; raises Invalid when chosen canaries cannot be updated."""
    ready = [host for host in hosts if host.verdict == WILL_UPDATE]
    own = {host.host_id for host in ready if host.is_servers_own or host.host_id == options.server_host_id}
    # when every host is on the server's machine the word says nothing, and one wave is as good as two
    last = [host for host in ready if host.host_id in own] if len(own) < len(ready) else []
    ready = _without(ready, last)
    canaries = _canaries(ready, options)
    rest = _without(ready, canaries)
    numbers = {host.host_id: CANARY_WAVE for host in canaries}
    numbers |= _spread(rest, options.waves)
    highest = max(numbers.values(), default=CANARY_WAVE)
    asleep = [host for host in hosts if host.verdict == OFFLINE]
    # who is offline comes back at any time: never before the hosts that somebody watches
    numbers |= {host.host_id: max(highest, FIRST_WAVE) for host in asleep}
    numbers |= {host.host_id: max(highest, FIRST_WAVE) + 1 for host in last}
    order = sorted([*canaries, *rest, *asleep, *last], key=lambda host: numbers[host.host_id])
    order += [host for host in hosts if host.host_id not in numbers]
    places = tuple(
        Place(host.host_id, host.name, host.verdict, host.reason, numbers.get(host.host_id, -1), position)
        for position, host in enumerate(order)
    )
    sizes = Counter(place.wave for place in places if place.verdict == WILL_UPDATE)
    estimate = estimate_seconds(sizes, options)
    return Plan(places, estimate, _uncovered(canaries, ready + last), _suggest(ready + last, options, estimate))


def estimate_seconds(wave_sizes: dict[int, int], options: Options) -> int:
    """How long waves of these sizes take when nothing goes wrong and nobody is busy."""
    whole = SECONDS_TO_HELLO + options.soak_seconds
    total = 0.0
    for wave, size in sorted(wave_sizes.items()):
        rounds = math.ceil(size / options.max_in_flight)
        if options.frees_slot_at_hello and wave != CANARY_WAVE:
            # a slot is free every SECONDS_TO_HELLO, but only twice as many as slots may be between order and commit
            pace = max(SECONDS_TO_HELLO, whole / 2)
            total += (rounds - 1) * pace + whole
        else:
            total += rounds * whole
    return round(total)


def _canaries(ready: Sequence[Candidate], options: Options) -> list[Candidate]:
    if isinstance(options.canaries, tuple):
        known = {host.host_id: host for host in ready}
        strange = [host_id for host_id in options.canaries if host_id not in known]
        if strange:
            raise Invalid({"canaries": f"Not among the hosts that will be updated now: {', '.join(strange[:5])}."})
        return [known[host_id] for host_id in options.canaries]
    by_platform: dict[tuple[str, str, str, str], list[Candidate]] = {}
    for host in ready:
        by_platform.setdefault(host.platform, []).append(host)
    # the platforms with the most hosts first: there a fault would cost most
    groups = sorted(by_platform.values(), key=len, reverse=True)
    if options.canaries == PER_PLATFORM:
        return [group[0] for group in groups]
    wanted = int(options.canaries)
    turns = max((len(group) for group in groups), default=0)
    in_turn = (group[turn] for turn in range(turns) for group in groups if turn < len(group))
    return [host for host, _ in zip(in_turn, range(wanted), strict=False)]


def _without(hosts: Iterable[Candidate], others: Iterable[Candidate]) -> list[Candidate]:
    taken = {host.host_id for host in others}
    return [host for host in hosts if host.host_id not in taken]


def _spread(hosts: Sequence[Candidate], waves: Sequence[Share]) -> dict[str, int]:
    found: dict[str, int] = {}
    left = list(hosts)
    wave = FIRST_WAVE
    for share in waves:
        size = max(1, share.of(len(hosts), round_up=True))
        taken, left = left[:size], left[size:]
        found |= {host.host_id: wave for host in taken}
        wave += 1 if taken else 0
    return found | {host.host_id: wave for host in left}


def _uncovered(canaries: Iterable[Candidate], ready: Iterable[Candidate]) -> tuple[str, ...]:
    covered = {host.platform for host in canaries}
    if not covered:
        return ()
    missing = Counter(host.platform for host in ready if host.platform not in covered)
    return tuple(platform_words(platform) for platform, _ in missing.most_common())


def platform_words(platform: tuple[str, str, str, str]) -> str:
    """How a platform is called: "linux amd64, systemd, restic 0.18.0"."""
    os, arch, init, restic_version = platform
    words = [f"{os} {arch}".strip(), init, f"restic {restic_version}" if restic_version else "no restic"]
    return ", ".join(word for word in words if word)


def _suggest(ready: Sequence[Candidate], options: Options, estimate: int) -> Suggestion | None:
    if options.waves or estimate < SUGGEST_WAVES_FROM_SECONDS:
        return None
    at_once = min(50, max(2, len(ready) // 20))
    quicker = Options(
        canaries=PER_PLATFORM, waves=SUGGESTED_WAVES, max_in_flight=at_once, soak_seconds=options.soak_seconds
    )
    canaries = _canaries(ready, quicker)
    rest = _without(ready, canaries)
    sizes = Counter(_spread(rest, quicker.waves).values()) + Counter({CANARY_WAVE: len(canaries)})
    return Suggestion(PER_PLATFORM, SUGGESTED_WAVES, at_once, estimate_seconds(sizes, quicker))
