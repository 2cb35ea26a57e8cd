"""Figures with a sample for each host, source group or repository, read in slices."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime

from prometheus_client.core import Metric

from rm.api.metrics.lines import Lines, escaped, gauge, labelled, single
from rm.domain.health import OFFLINE_AFTER
from rm.shared import instants
from rm.store import figures, releases

SLICE_SECONDS = 0.003
SMALLEST, LARGEST = 5, 400
MAX_AGENTS_LISTED = 100
"""Hosts choose the words of their versions; a fleet gone wrong must not make a series of each."""


class FleetFigures:
    """Hosts and source groups at an instant; `pause` lets others have their turn between two slices."""

    def __init__(self, now: datetime, pause: Callable[[], None]) -> None:
        self._now = instants.to_text(now)
        self._seen_since = instants.to_text(now - OFFLINE_AFTER)
        self._pause = pause
        self._families = [
            Lines(name)
            for name in (
                "backup_last_success_timestamp_seconds", "backup_next_due_timestamp_seconds", "backup_late",
                "backup_protected", "backup_status", "backup_last_duration_seconds", "host_connected",
                "host_last_seen_timestamp_seconds", "host_info",
            )
        ]  # fmt: skip
        self._statuses: Counter[str] = Counter(online=0, offline=0, waiting=0)
        self._codes: Counter[str] = Counter()
        self._agents: Counter[tuple[str, int]] = Counter()
        self._protected = 0
        self._words: dict[tuple[str, int, str, str, str], tuple[str, str]] = {}

    def collect(self) -> Iterator[Metric]:
        """Each figure with its labels, read now."""
        after, limit = "", SMALLEST * 10
        while True:
            begun = time.monotonic()
            rows = figures.hosts_after(after, limit=limit)
            if not rows:
                break
            self._add(rows)
            after = rows[-1][0]
            limit = next_limit(limit, time.monotonic() - begun)
            self._pause()
        yield from self._families
        yield from self._counts()

    def _add(self, rows: figures.Rows) -> None:
        # A line is written out where it is made: a call for each costs as much as the line.
        good, due, late, protected, status, took, connected, seen, info = self._families
        last, now, agent_words = "", self._now, self._agent_words
        for (
            host_id, name, is_connected, last_seen, has_said_hello, version, seq, os, arch, mode, until, seen_at,
            group, code, good_at, next_at, late_at, group_until, seconds,
        ) in rows:  # fmt: skip
            if host_id != last:
                last = host_id
                host = f'host="{escaped(name)}",host_id="{host_id}"'
                is_online = bool(is_connected) and last_seen is not None and last_seen >= self._seen_since
                self._statuses["online" if is_online else "offline" if has_said_hello else "waiting"] += 1
                self._agents[version, seq] += 1
                self._protected += until is not None and until > now
                connected.pending.append(f"{connected.start}{host}}} {is_online:d}\n")
                seen.pending.append(f"{seen.start}{host}}} {seen_at or 0}\n")
                before, after = agent_words(version, seq, arch, mode, os)
                info.pending.append(f"{info.start}{before}{host}{after}}} 1\n")
            if group is None:
                continue
            labels = f'group="{escaped(group)}",{host}}}'
            code = code or "unknown"
            self._codes[code] += 1
            good.pending.append(f"{good.start}{labels} {good_at or 0}\n")
            if next_at is not None:
                due.pending.append(f"{due.start}{labels} {next_at}\n")
            late.pending.append(f"{late.start}{labels} {late_at is not None and late_at <= now:d}\n")
            protected.pending.append(f"{protected.start}{labels} {group_until is not None and group_until > now:d}\n")
            status.pending.append(f'{status.start}{labels[:-1]},status="{code}"}} 1\n')
            if seconds is not None:
                took.pending.append(f"{took.start}{labels} {seconds}\n")
        for family in self._families:
            family.flush()

    def _agent_words(self, version: str, seq: int, arch: str, mode: str, os: str) -> tuple[str, str]:
        """The labels of host_info that sort before host, and those after; many hosts have the same."""
        key = (version, seq, arch, mode, os)
        found = self._words.get(key)
        if found is None:
            before = f'agent_sequence="{seq}",agent_version="{escaped(version)}",arch="{escaped(arch)}",'
            found = self._words[key] = (before, f',mode="{mode}",os="{escaped(os)}"')
        return found

    def _counts(self) -> Iterator[Metric]:
        groups = gauge("source_groups")
        for code, count in sorted(self._codes.items()):
            groups.add_metric((code,), count)
        yield groups
        hosts = gauge("hosts")
        for status, count in sorted({**self._statuses, "revoked": figures.count_revoked()}.items()):
            hosts.add_metric((status,), count)
        yield hosts
        yield single("protected_hosts", self._protected)
        yield single("pending_hosts", figures.count_pending(self._now))
        agents, others = gauge("agents"), 0
        for place, ((version, seq), count) in enumerate(self._agents.most_common()):
            if place < MAX_AGENTS_LISTED:
                agents.add_metric((version, str(seq)), count)
            else:
                others += count
        if others:
            agents.add_metric(("other", "other"), others)
        yield agents
        current = releases.current()
        behind = sum(count for (_, seq), count in self._agents.items() if current is not None and seq < current.seq)
        yield single("hosts_behind", behind)


class RepositoryFigures:
    """Repositories and their upkeep."""

    def __init__(self, pause: Callable[[], None]) -> None:
        self._pause = pause
        self._families = {
            name: Lines(name)
            for name in (
                "repository_size_bytes", "repository_snapshots", "repository_last_check_timestamp_seconds",
                "repository_last_check_success", "repository_last_prune_timestamp_seconds",
                "maintenance_last_duration_seconds",
            )
        }  # fmt: skip

    def collect(self) -> Iterator[Metric]:
        """Each figure with its labels, read now."""
        after, limit = "", SMALLEST * 10
        while True:
            begun = time.monotonic()
            rows = figures.repositories_after(after, limit=limit)
            if not rows:
                break
            self._add(rows)
            for name, kind, seconds in figures.maintenance_between(after, rows[-1][0]):
                self._families["maintenance_last_duration_seconds"].add(labelled(kind=kind, repository=name), seconds)
            for family in self._families.values():
                family.flush()
            after = rows[-1][0]
            limit = next_limit(limit, time.monotonic() - begun)
            self._pause()
        yield from self._families.values()

    def _add(self, rows: figures.Rows) -> None:
        take = {name: family.add for name, family in self._families.items()}
        for _, name, size, snapshots, checked_at, check_ok, pruned_at in rows:
            labels = f'repository="{escaped(name)}"'
            if size is not None:
                take["repository_size_bytes"](labels, size)
            if snapshots is not None:
                take["repository_snapshots"](labels, snapshots)
            take["repository_last_check_timestamp_seconds"](labels, checked_at or 0)
            if check_ok is not None:
                take["repository_last_check_success"](labels, check_ok)
            take["repository_last_prune_timestamp_seconds"](labels, pruned_at or 0)


def next_limit(limit: int, seconds: float) -> int:
    """How many hosts to read next, so that a slice takes a few milliseconds, whatever hosts have and machines can."""
    return max(SMALLEST, min(LARGEST, int(limit * SLICE_SECONDS / max(seconds, 0.0001)), limit * 2))
