"""`rm-agent-guard run` with a trial: bad releases are put back where there is no systemd, and hangs are noticed."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.agent.conftest import until
from tests.agent.guarded import HANG_TICKS, SHELLS, Clock, Guarded

LIVES = """i=1
while :; do
    i=$((i + 1))
    echo $i >"$RM_GUARD_ALIVE.new"
    mv -f "$RM_GUARD_ALIVE.new" "$RM_GUARD_ALIVE"
    sleep 0.05
done"""
Host = Callable[..., Guarded]


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Host]:
    """Makes hosts; each agent notes in `starts` which one it is, and goes on as its body says."""
    made: list[Guarded] = []

    def make(body: str, *, later: str = "", shell: str = SHELLS[0]) -> Guarded:
        root = tmp_path / f"host {len(made)}"
        texts = [f"#!/bin/sh\necho {name} $$ >> '{root}/starts'\n{text}\n" for name, text in
                 (("earlier", body), ("later", later))]  # fmt: skip
        host = Guarded(root, shell, earlier=texts[0].encode()).make()
        if later:
            host.arm(later=texts[1].encode())
            host.swap(texts[1].encode())
        made.append(host)
        return host

    yield make
    for host in made:
        host.close()


def starts(host: Guarded) -> list[str]:
    path = host.root / "starts"
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def goes_round(host: Guarded) -> None:
    """Wait until the agent has shown life once more."""
    before = number(host)
    until(lambda: number(host) > before)


def number(host: Guarded) -> int:
    return int((host.update / "alive").read_text().split()[0])


def let_hang(clock: Clock) -> None:
    """Enough ticks for the guard to see that its agent hangs, and not enough to see it again."""
    clock.let_pass(HANG_TICKS + 1, is_last=True)


def pid(host: Guarded) -> int:
    return int((host.root / "starts").read_text().split()[-1])


def test_a_release_that_exits_at_once_is_put_back_within_ten_seconds(hosts: Host) -> None:
    made = [hosts(LIVES, later=f"exit {code}", shell=SHELLS[code % len(SHELLS)]) for code in (0, 1, 78)]
    for host in made:
        host.run()

    until(lambda: all("earlier" in starts(host) for host in made))

    for host in made:
        assert starts(host) == ["later", "later", "later", "earlier"]
        # What the guard adds to the time that the starts themselves take.
        assert sum(int(wait) for wait in re.findall(r"again in (\d+) s", host.said())) == 1 + 2 + 4
        assert host.facts("reverted")["reason"] == "boots"


def test_75_during_the_trial_is_a_failed_start_like_any_other(hosts: Host) -> None:
    host = hosts(LIVES, later="exit 75")
    host.run()

    until(lambda: starts(host) == ["later", "later", "later", "earlier"])


def test_starts_are_counted_across_ends_of_the_guard_itself(hosts: Host) -> None:
    host = hosts(LIVES, later="exec sleep 60")
    for count in (1, 2, 3, 4):
        guard = host.run()
        until(lambda count=count: len(starts(host)) == count)
        os.killpg(guard.pid, signal.SIGKILL)
        guard.wait()

    assert starts(host) == ["later", "later", "later", "earlier"]


@pytest.mark.parametrize("shell", SHELLS)
def test_an_agent_that_never_shows_life_is_killed(hosts: Host, shell: str) -> None:
    host = hosts("exec sleep 60", shell=shell)
    clock = host.clock()
    host.run(**clock.environ)

    clock.let_pass(HANG_TICKS - 1)
    assert "hangs" not in host.said()
    clock.let_pass(1, is_last=True)

    until(lambda: len(starts(host)) == 2)
    assert "the agent hangs" in host.said()
    assert "exit code 137" in host.said()


@pytest.mark.parametrize("shell", SHELLS)
def test_an_agent_whose_number_stands_still_is_killed(hosts: Host, shell: str) -> None:
    host = hosts(LIVES, shell=shell)
    clock = host.clock()
    host.run(**clock.environ)
    until(lambda: starts(host))
    goes_round(host)
    clock.let_pass(1)

    os.kill(pid(host), signal.SIGSTOP)
    clock.let_pass(HANG_TICKS - 1)
    assert "hangs" not in host.said()
    # Two, because the number may have moved once more before the stop.
    clock.let_pass(2, is_last=True)

    until(lambda: len(starts(host)) == 2)
    assert "the agent hangs" in host.said()


def test_an_agent_that_shows_life_is_left_alone(hosts: Host) -> None:
    host = hosts(LIVES)
    clock = host.clock()
    host.run(**clock.environ)
    until(lambda: starts(host))

    for _ in range(4):
        goes_round(host)
        clock.let_pass(HANG_TICKS)

    assert starts(host) == ["earlier"]
    assert "hangs" not in host.said()


def test_where_life_cannot_be_shown_nobody_is_killed_for_it(hosts: Host) -> None:
    host = hosts("exec sleep 60")
    (host.update / "alive").mkdir()
    clock = host.clock()
    guard = host.run(**clock.environ, RM_GUARD_ALIVE="an outer one")

    clock.let_pass(2 * HANG_TICKS)
    os.kill(pid(host), signal.SIGTERM)

    until(lambda: "again in 1 s" in host.said())
    assert guard.poll() is None
    assert "hangs" not in host.said()


def test_an_agent_that_asks_for_patience_may_stand_still_for_longer(hosts: Host) -> None:
    host = hosts('echo "1 60" > "$RM_GUARD_ALIVE"; exec sleep 60')
    clock = host.clock()
    host.run(**clock.environ)
    until(lambda: "1 60\n" in (host.update / "alive").read_text() if starts(host) else False)

    clock.let_pass(60)
    assert "hangs" not in host.said()
    clock.let_pass(1, is_last=True)

    until(lambda: "the agent hangs" in host.said())


def test_an_agent_that_asks_for_too_much_patience_gets_the_usual(hosts: Host) -> None:
    host = hosts('echo "1 9999" > "$RM_GUARD_ALIVE"; exec sleep 60')
    clock = host.clock()
    host.run(**clock.environ)
    until(lambda: "1 9999\n" in (host.update / "alive").read_text() if starts(host) else False)

    let_hang(clock)

    until(lambda: "the agent hangs" in host.said())


def test_a_hanging_release_is_put_back(hosts: Host) -> None:
    host = hosts(LIVES, later="exec sleep 60")
    host.arm(boots=1, later=host.program.read_bytes())
    clock = host.clock()
    host.run(**clock.environ)

    for count in (1, 2):
        until(lambda count=count: len(starts(host)) == count)
        let_hang(clock)
    until(lambda: "earlier" in starts(host))

    assert starts(host) == ["later", "later", "earlier"]
    assert host.facts("reverted")["reason"] == "boots"


def test_a_release_that_lives_and_never_says_hello_is_put_back_at_the_limit(hosts: Host) -> None:
    host = hosts(LIVES, later=LIVES)
    host.arm(limit_s=1, later=host.program.read_bytes())
    clock = host.clock()
    host.run(**clock.environ)

    clock.let_pass(1)
    assert "not committed" not in host.said()
    clock.let_pass(1, is_last=True)
    until(lambda: "earlier" in starts(host))

    assert starts(host) == ["later", "earlier"]
    assert host.facts("reverted")["reason"] == "expired"
    assert len(list((host.update / "bad").iterdir())) == 1


def test_a_release_that_asks_for_its_revert_is_put_back_at_once(hosts: Host) -> None:
    host = hosts(LIVES, later='echo credential > "${RM_GUARD_ALIVE%/*}/ask_revert"; exit 0')
    host.run()

    until(lambda: starts(host) == ["later", "earlier"])

    assert (host.facts("reverted")["reason"], host.facts("reverted")["bad"]) == ("credential", "0")


def test_an_agent_that_swaps_itself_and_commits_stays(hosts: Host) -> None:
    later = (
        'cd "${RM_GUARD_ALIVE%/*}"; [ ! -e trial ] || { sed -n "s/^to=//p" trial > committed; }\n' + LIVES
    )  # fmt: skip
    host = hosts(LIVES, later=later)
    # No tick passes, or the guard might take the word away before anybody here has seen it.
    host.run(**host.clock().environ)
    until(lambda: (host.update / "committed").exists() and (host.update / "committed").read_text())

    os.kill(pid(host), signal.SIGKILL)

    until(lambda: starts(host) == ["later", "later"])
    assert not {"trial", "committed"} & host.left()
    assert host.facts("reverted") == {}


def test_nothing_of_the_guard_outlives_it(hosts: Host) -> None:
    host = hosts(LIVES)
    guard = host.run(RM_GUARD_TICK="0.1")
    until(lambda: starts(host))

    guard.terminate()

    assert guard.wait(30) == 0
    until(lambda: not members(guard.pid))


def test_what_minds_the_agent_ends_with_a_guard_that_was_killed(hosts: Host) -> None:
    host = hosts(LIVES)
    guard = host.run(RM_GUARD_TICK="0.1")
    until(lambda: starts(host))

    guard.kill()
    guard.wait()

    until(lambda: members(guard.pid, but=pid(host)) == [])


def members(session: int, *, but: int = 0) -> list[int]:
    """The processes of a session, without those that one of them has started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                facts = (entry / "stat").read_text().rpartition(") ")[2].split()
            except OSError:
                continue
            if int(facts[3]) == session and facts[0] != "Z" and but not in (int(entry.name), int(facts[1])):
                found.append(int(entry.name))
    return found
