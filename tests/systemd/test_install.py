"""A host's life under systemd: installed, run again, killed, rebooted, damaged, repaired, removed."""

from collections.abc import Callable

import pytest

from tests.install.server import Server, until
from tests.systemd.conftest import Host, fetched, install
from tests.systemd.machine import Machine

pytestmark = [pytest.mark.root, pytest.mark.timeout(200, func_only=True)]

PLACES = "/etc /usr /opt /root /srv /var/lib /var/spool"
LISTING = f"find {PLACES} /var/restic-manager -xdev 2>/dev/null | grep -vE '^/var/lib/systemd/' | sort"


@pytest.fixture(scope="module")
def clean(boot: Callable[[], Machine]) -> Machine:
    return boot()


@pytest.fixture(scope="module")
def before(clean: Machine) -> set[str]:
    """All files of the machine before anything is installed on it."""
    return set(clean.out(LISTING).splitlines())


@pytest.fixture(scope="module")
def host(clean: Machine, before: set[str], server: Server) -> Host:
    return install(clean, server)


def pid_of(host: Host) -> str:
    return host.machine.unit("MainPID")


def test_the_line_installs_a_running_and_connected_agent(host: Host) -> None:
    modes = host.machine.out(
        "stat -c '%a %U' /usr/local/lib/restic-manager/rm-agent /usr/local/lib/restic-manager/rm-agent-guard"
        " /etc/restic-manager/agent.toml /var/lib/restic-manager-agent /var/lib/restic-manager-agent/secrets.json"
    )

    assert host.is_connected()
    assert host.machine.unit("UnitFileState") == "enabled"
    assert modes.splitlines() == ["755 root", "755 root", "600 root", "700 root", "600 root"]
    assert host.machine.out("readlink /usr/local/bin/rm-agent") == "/usr/local/lib/restic-manager/rm-agent"
    assert host.machine.out("rm-agent doctor").count("failed") == 0


def test_systemd_finds_no_fault_with_the_unit(host: Host) -> None:
    done = host.machine.run("systemd-analyze verify /etc/systemd/system/rm-agent.service")

    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert host.machine.unit("ExecStart").startswith("{ path=/usr/bin/python3.")


def test_running_it_again_changes_nothing_and_says_so(host: Host) -> None:
    pid = pid_of(host)

    said = host.machine.out(fetched(host.server))

    assert "nothing was changed" in said
    assert pid_of(host) == pid


def test_a_second_token_is_not_spent_on_a_host_that_is_enrolled(host: Host) -> None:
    line, token = host.server.line()

    said = host.machine.out(line)

    assert "token was not used" in said
    assert token not in host.machine.out("journalctl --no-pager; cat /proc/*/environ /proc/*/cmdline | tr '\\0' ' '")
    assert len([one for one in host.server.hosts() if one["hostname"] == host.machine.name]) == 1


def test_a_killed_agent_comes_back(host: Host) -> None:
    pid = pid_of(host)

    host.machine.out(f"kill -KILL {pid}")

    until(lambda: pid_of(host) not in ("0", pid), "another agent")
    host.wait_until_connected()


def test_an_agent_that_hangs_is_restarted_and_one_that_idles_is_not(host: Host) -> None:
    host.machine.write("/etc/systemd/system/rm-agent.service.d/test.conf", "[Service]\nWatchdogSec=10\n")
    host.machine.out("systemctl daemon-reload && systemctl restart rm-agent")
    host.wait_until_connected()
    pid = pid_of(host)
    began = int(host.machine.unit("WatchdogTimestampMonotonic"))
    until(lambda: int(host.machine.unit("WatchdogTimestampMonotonic")) > began + 13_000_000, "more pings than one")
    assert pid_of(host) == pid

    host.machine.out(f"kill -STOP {pid}")

    until(lambda: pid_of(host) not in ("0", pid), "another agent", seconds=60)
    host.wait_until_connected()
    host.machine.out("rm -r /etc/systemd/system/rm-agent.service.d && systemctl daemon-reload")


@pytest.mark.parametrize("code", [0, 1, 75, 78])
def test_no_exit_code_ends_the_supervision(host: Host, code: int) -> None:
    host.machine.write(
        "/etc/systemd/system/rm-agent.service.d/test.conf",
        f"[Service]\nExecStart=\nExecStart=/bin/sh -c 'exit {code}'\nRestartSec=50ms\n",
    )
    host.machine.out("systemctl daemon-reload && systemctl restart --no-block rm-agent")

    until(lambda: int(host.machine.unit("NRestarts")) > 7, "more starts than systemd's usual limit")

    host.machine.out("rm -r /etc/systemd/system/rm-agent.service.d && systemctl daemon-reload")
    until(lambda: host.is_connected(), "the agent to come back", seconds=60)


def test_after_a_reboot_the_agent_is_there_by_itself(host: Host) -> None:
    boot_id = host.machine.out("systemctl show -P UserspaceTimestampMonotonic")

    host.machine.reboot()

    assert host.machine.out("systemctl show -P UserspaceTimestampMonotonic") != boot_id
    host.wait_until_connected()


def test_repair_mends_a_damaged_installation_and_keeps_the_enrolment(host: Host) -> None:
    host.machine.out(
        "systemctl stop rm-agent; echo garbage > /usr/local/lib/restic-manager/rm-agent;"
        "rm -f /usr/local/lib/restic-manager/rm-agent-guard /usr/local/bin/rm-agent;"
        "systemctl disable --now rm-agent-trial.path; rm /etc/systemd/system/rm-agent-trial.*;"
        "echo garbage > /etc/systemd/system/rm-agent.service; chmod 755 /var/lib/restic-manager-agent"
    )

    host.machine.out(fetched(host.server, "--repair"))

    assert host.is_connected()
    assert host.machine.out("stat -c %a /var/lib/restic-manager-agent") == "700"
    assert host.machine.out("systemctl is-enabled rm-agent-trial.path") == "enabled"
    assert host.machine.out("systemctl is-active rm-agent-trial.path") == "active"
    assert len([one for one in host.server.hosts() if one["hostname"] == host.machine.name]) == 1


def test_an_install_that_fails_leaves_the_earlier_agent_at_work(host: Host) -> None:
    pid = pid_of(host)
    nobody = f"curl -fsS {host.server.base_url}/install.sh | sed 's|^ *server=.*|server=http://127.0.0.1:9|'"

    moved = host.machine.run(f"{nobody} | sh")
    full = host.machine.run(
        "mkdir -p /mnt/full && mount -t tmpfs -o size=64k none /mnt/full && mount --bind /mnt/full"
        f" /usr/local/lib/restic-manager && {fetched(host.server)}"
    )
    host.machine.out("umount /usr/local/lib/restic-manager")

    assert (moved.returncode, "is enrolled at" in moved.stderr) == (1, True)
    assert (full.returncode, "no room" in full.stderr) == (1, True)
    assert (pid_of(host), host.is_connected()) == (pid, True)


def test_a_credential_that_was_revoked_is_replaced_by_a_line_with_a_token(host: Host) -> None:
    host.server.person.ask("POST", f"/hosts/{host.host_id}/revoke")
    without = host.machine.run(fetched(host.server))
    line, _ = host.server.line()

    done = host.machine.run(line)

    assert without.returncode == 1
    assert (done.returncode, "Enrolled at" in done.stdout) == (0, True), done.stdout + done.stderr
    assert host.is_connected()


def test_uninstall_leaves_nothing_behind_but_what_it_names(host: Host, before: set[str]) -> None:
    host.machine.write("/var/restic-manager/restore/letter.txt", "dear reader")

    said = host.machine.out(fetched(host.server, "--uninstall"))

    left = set(host.machine.out(LISTING).splitlines()) - before
    assert left == {"/var/restic-manager", "/var/restic-manager/restore", "/var/restic-manager/restore/letter.txt"}
    assert "Left /var/restic-manager/restore with 1 entry" in said
    assert "Left all backups" in said
    assert host.machine.run("systemctl status rm-agent").returncode == 4


def test_a_host_without_python_is_told_the_package_and_keeps_clean(clean: Machine, server: Server) -> None:
    clean.out("rm -rf /var/restic-manager; mkdir /tmp/away && mv /usr/bin/python3* /tmp/away/")

    done = clean.run(fetched(server))

    clean.out("mv /tmp/away/* /usr/bin/")
    assert (done.returncode, "apt-get install python3" in done.stderr) == (1, True)
    assert clean.run("ls -d /usr/local/lib/restic-manager /etc/restic-manager").stdout == ""
