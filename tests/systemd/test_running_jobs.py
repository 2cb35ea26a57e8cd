"""A running backup and the agent's own ends: why the unit stops the agent alone (KillMode=process)."""

from collections.abc import Callable, Iterator

import pytest

from tests.install.server import Server, until
from tests.systemd.conftest import Host, fetched, install
from tests.systemd.machine import Machine

pytestmark = [pytest.mark.root, pytest.mark.timeout(150, func_only=True)]

DROP_IN = "/etc/systemd/system/rm-agent.service.d/test.conf"
ENDS = {
    "restarted": "systemctl restart rm-agent",
    "killed": "kill -KILL $(systemctl show -P MainPID rm-agent)",
    "repaired": "",
}


@pytest.fixture(scope="module")
def host(boot: Callable[[], Machine], server: Server) -> Host:
    machine = boot()
    machine.out("mkdir -p /srv/backup /srv/data && head -c 24000000 /dev/urandom > /srv/data/large")
    found = install(machine, server, "--writable", "/srv/backup")
    found.use_repository("/srv/backup")
    found.group("large", "/srv/data")
    return found


@pytest.fixture
def slow_backup(host: Host) -> Iterator[str]:
    """A backup that is in its middle: its restic stands still until the test lets it go."""
    host.wait_until_connected()
    host.machine.write(
        "/usr/local/bin/restic",
        "#!/bin/sh\ncase \" $* \" in *' backup '*) while [ ! -e /srv/go ]; do sleep 0.1; done;; esac\n"
        'exec /usr/bin/restic "$@"\n',
        mode=0o755,
    )
    host.machine.out("rm -f /srv/go")
    job_id = host.order(kind="backup", source_group_id=host.groups["large"])
    until(lambda: host.job(job_id)["state"] == "running", "the backup to run")
    until(lambda: host.machine.run("pgrep -f rm-agent-job").stdout, "restic to be started")
    yield job_id
    host.machine.run(f"touch /srv/go; rm -f {DROP_IN}; systemctl daemon-reload; systemctl start rm-agent")
    host.finish(job_id)


@pytest.mark.parametrize("end", ENDS)
def test_a_backup_outlives_an_agent_that_is(host: Host, slow_backup: str, end: str) -> None:
    pid = host.machine.unit("MainPID")
    host.machine.out(ENDS[end] or fetched(host.server, "--repair"))
    until(lambda: host.machine.unit("MainPID") not in ("0", pid), "the next agent")

    host.machine.out("touch /srv/go")

    assert host.finish(slow_backup)["outcome"] == "succeeded"


def test_a_unit_that_stops_the_whole_group_would_lose_the_backup(host: Host, slow_backup: str) -> None:
    host.machine.write(DROP_IN, "[Service]\nKillMode=control-group\n")
    host.machine.out("systemctl daemon-reload && systemctl restart rm-agent && touch /srv/go")

    ended = host.finish(slow_backup)

    assert ended["outcome"] == "failed"
    assert ended["reason"] in ("restic_killed", "interrupted")


def test_the_agent_is_not_removed_while_its_restic_works(host: Host, slow_backup: str) -> None:
    done = host.machine.run("rm-agent uninstall")

    assert (done.returncode, slow_backup in done.stderr) == (1, True)
    assert host.is_connected()


def test_a_shutdown_ends_the_backup_and_the_job_says_so_afterwards(host: Host, slow_backup: str) -> None:
    host.machine.reboot()

    ended = host.finish(slow_backup)

    assert ended["outcome"] == "failed"
    assert ended["reason"] in ("restic_killed", "interrupted")
