"""Which orders an agent takes: asked of a running agent whose own file is not replaced by any of them."""

import dataclasses
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.config import Paths
from agent.platform.replace import Disk
from agent.running import RunningAgent
from agent.update.trust import Floor, FloorFile, Marks, Previous, TrustFile
from rm.shared import ids, instants
from rm.shared.protocol import CommandRollback, CommandUpdate, CommandUpdateCancel, ConfigSet, Welcome
from tests.agent.conftest import Rig, until
from tests.agent.update.machine import UpdateServer, real_now
from tests.signing import OTHER_KEY, ROOTS

HERE = "a" * 64
THERE = "b" * 64
# How far an order comes in an agent that runs from its source: it was taken, and the host then said no.
TAKEN = ("refused", "preflight", "not_replaceable")


@pytest.fixture
def host(tmp_path: Path, releases: UpdateServer) -> Iterator[Rig]:
    """An enrolled agent at release 5, which is not started yet."""
    base = tmp_path / "root"
    base.mkdir()
    rig = Rig(base=base, server=releases, paths=Paths.of(str(base)), location=str(tmp_path / "repository"))
    rig.enrol()
    FloorFile(rig.paths.update).save(Floor(seq=5, sha256=HERE, version="0.5.0"))
    yield rig
    rig.close()


def order(**changed: Any) -> CommandUpdate:
    known: dict[str, Any] = {
        "attempt_id": ids.new_ulid(),
        "epoch": 1,
        "keyset_version": 1,
        "manifest_sha256": "c" * 64,
        "artifact_sha256": THERE,
        "version": "0.6.0",
        "seq": 6,
        "not_after": instants.to_text(real_now() + timedelta(hours=1)),
    }
    return CommandUpdate(**(known | changed))


def outcome(host: Rig, sent: Any) -> tuple[str, str, str]:
    """Start the agent if it does not run, send the order, and wait for its end."""
    server = host.server
    assert isinstance(server, UpdateServer)
    if host.agent is None:
        host.start()
    server.wait(lambda s: s.connections and not s.connections[-1].closed.is_set())
    server.connected(len(server.connections))
    server.connections[-1].send(sent)
    return server.outcome(sent.attempt_id)


def test_an_order_in_good_order_is_taken(host: Rig) -> None:
    assert outcome(host, order()) == TAKEN


def test_a_known_order_is_answered_again_and_not_done_again(host: Rig) -> None:
    sent = order()
    outcome(host, sent)
    host.settled()

    host.server.connections[-1].send(sent)

    host.server.wait(lambda s: len(s.all("update.result")) == 2)
    assert len(host.server.all("update.progress", phase="preflight")) == 1


@pytest.mark.parametrize("epoch", [1, 2])
def test_an_order_that_is_not_newer_than_the_last_is_refused(host: Rig, epoch: int) -> None:
    outcome(host, order(epoch=2))

    assert outcome(host, order(epoch=epoch)) == ("refused", "accepted", "stale_order")


def test_the_newest_epoch_is_known_after_a_restart(host: Rig) -> None:
    outcome(host, order(epoch=7))
    host.stop()
    until(lambda: all(connection.closed.is_set() for connection in host.server.connections))

    assert outcome(host, order(epoch=6))[2] == "stale_order"


@pytest.mark.parametrize("days", [-1, 1])
def test_the_hosts_own_clock_does_not_matter(host: Rig, days: int) -> None:
    server_time = real_now() + timedelta(days=days)
    host.server.welcomes = lambda: Welcome(
        server_time=instants.to_text(server_time), heartbeat_seconds=30, host_id="host-1"
    )

    late = outcome(host, order(epoch=1, not_after=instants.to_text(server_time - timedelta(minutes=1))))
    in_time = outcome(host, order(epoch=2, not_after=instants.to_text(server_time + timedelta(minutes=5))))

    assert late == ("refused", "accepted", "order_expired")
    assert in_time == TAKEN


def test_a_pinned_host_takes_nothing_and_says_so(host: Rig) -> None:
    Marks(host.paths.update).set(Marks.PINNED)

    assert outcome(host, order(force=True)) == ("refused", "accepted", "pinned")
    assert host.server.all("hello")[0].payload.pinned is True
    rollback = CommandRollback(attempt_id=ids.new_ulid(), epoch=9, to_sha256=THERE, not_after=order().not_after)
    assert outcome(host, rollback)[2] == "pinned"


def test_the_fifth_swap_within_an_hour_is_refused(host: Rig) -> None:
    file = FloorFile(host.paths.update)
    for minutes in (50, 40, 30, 20):
        file.count_swap(real_now() - timedelta(minutes=minutes))

    assert outcome(host, order()) == ("refused", "accepted", "too_many_swaps")


def test_swaps_of_an_hour_ago_do_not_count(host: Rig) -> None:
    file = FloorFile(host.paths.update)
    for minutes in (70, 40, 30, 20):
        file.count_swap(real_now() - timedelta(minutes=minutes))

    assert outcome(host, order()) == TAKEN


def test_what_was_put_back_here_is_taken_only_by_force(host: Rig) -> None:
    bad = host.paths.update / "bad"
    bad.mkdir()
    (bad / THERE).touch()

    assert outcome(host, order(epoch=1)) == ("refused", "accepted", "known_bad")
    assert outcome(host, order(epoch=2, force=True)) == TAKEN


def test_force_does_not_lift_the_floor(host: Rig) -> None:
    assert outcome(host, order(seq=4, force=True)) == ("refused", "accepted", "below_floor")


def test_the_owner_lets_one_order_go_below_the_floor(host: Rig) -> None:
    Marks(host.paths.update).set(Marks.ALLOW_DOWNGRADE)

    assert outcome(host, order(epoch=1, seq=4)) == TAKEN
    assert outcome(host, order(epoch=2, seq=4)) == ("refused", "accepted", "below_floor")


def test_a_second_artifact_of_one_sequence_is_refused(host: Rig) -> None:
    assert outcome(host, order(seq=5)) == ("refused", "accepted", "same_seq_other_hash")


def rollback(**changed: Any) -> CommandRollback:
    known = {"attempt_id": ids.new_ulid(), "epoch": 1, "to_sha256": THERE, "not_after": order().not_after}
    return CommandRollback(**(known | changed))


@pytest.mark.parametrize(
    ("days", "sha256", "expected"),
    [
        (6, THERE, TAKEN),
        (8, THERE, ("refused", "accepted", "previous_too_old")),
        (1, HERE, ("refused", "accepted", "no_previous")),
    ],
)
def test_one_can_go_back_for_seven_days_to_the_one_recorded_file(
    host: Rig, days: int, sha256: str, expected: tuple[str, str, str]
) -> None:
    at = instants.to_text(real_now() - timedelta(days=days))
    previous = Previous(sha256=sha256, seq=4, version="0.4.0", committed_at=at)
    FloorFile(host.paths.update).save(Floor(seq=5, sha256=HERE, version="0.5.0", previous=previous))

    assert outcome(host, rollback()) == expected


def test_an_order_that_was_cancelled_before_it_came_is_not_taken(host: Rig) -> None:
    sent = order()

    assert outcome(host, CommandUpdateCancel(attempt_id=sent.attempt_id)) == ("cancelled", "accepted", "cancelled")
    host.settled()
    host.server.connections[-1].send(sent)

    host.server.wait(lambda s: len(s.all("update.result")) == 2)
    assert {m.payload.outcome for m in host.server.all("update.result")} == {"cancelled"}


def test_a_full_disk_refuses_the_order_and_the_agent_goes_on(host: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = host.start()
    host.server.connected()
    create = Disk.create

    def full(self: Disk, path: Path, data: bytes, mode: int = 0o600) -> None:
        if path.name == ".update.json.new":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        create(self, path, data, mode)

    monkeypatch.setattr(Disk, "create", full)
    sent = order()

    assert outcome(host, sent) == ("failed", "accepted", "disk_full")
    monkeypatch.undo()
    agent.tick()
    assert json.loads((host.paths.update / "update.json").read_text())["outcomes"][0]["reason"] == "disk_full"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"attempt": 7}', '{"attempt": {"attempt_id": 7}}'])
def test_a_damaged_journal_is_set_aside(host: Rig, text: str) -> None:
    (host.paths.update / "update.json").write_text(text)

    assert outcome(host, order()) == TAKEN
    assert (host.paths.update / "update.json.damaged").read_text() == text


@pytest.mark.parametrize("name", ["floor.json"])
def test_damage_to_what_guards_this_host_stops_updates_and_nothing_else(host: Rig, name: str) -> None:
    (host.paths.update / name).write_text("{")

    assert outcome(host, order()) == ("refused", "accepted", "state_damaged")
    assert (host.paths.update / name).read_text() == "{"


def test_root_keys_of_a_connected_server_are_pinned_once(host: Rig) -> None:
    agent: RunningAgent = host.start()
    connection = host.server.connected()
    file = TrustFile(host.paths.update)

    connection.send(ConfigSet(version=2, trust={"root_keys": ROOTS, "keyset_version": 3}))
    host.server.wait_for("schedule.ack", config_version=2)
    first = file.load()
    connection.send(ConfigSet(version=3, trust={"root_keys": [OTHER_KEY.public.text], "keyset_version": 9}))
    host.server.wait_for("schedule.ack", config_version=3)

    assert (first.root_keys, first.keyset_version) == (ROOTS, 3)
    assert file.load() == first
    assert agent.updates.is_pinned is False


def test_a_key_of_small_order_is_never_pinned(host: Rig) -> None:
    weak = dataclasses.replace(OTHER_KEY.public, raw=b"\x01" + bytes(31)).text

    assert TrustFile(host.paths.update).pin({"root_keys": [weak], "keyset_version": 1}) is False
    assert TrustFile(host.paths.update).load().root_keys == []


def test_the_floor_begins_with_the_release_that_runs_first(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    file = FloorFile(tmp_path)

    begun = file.begin(seq=3, sha256=digest, version="0.3.0")
    later = file.begin(seq=9, sha256=HERE, version="0.9.0")

    assert begun == later == file.load()


def test_the_floor_never_falls(tmp_path: Path) -> None:
    file = FloorFile(tmp_path)
    for seq in (5, 3, 8, 7):
        file.committed(seq=seq, sha256=str(seq), version=f"0.{seq}.0", previous=None)

    found = file.load()
    assert found is not None
    assert (found.seq, found.sha256) == (8, "8")
