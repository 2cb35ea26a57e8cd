"""What the unit's sandbox forbids, and that it hides nothing from a backup: for each of its three variants."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.install.server import Server
from tests.systemd.conftest import PASSWORD, Host, fetched, install
from tests.systemd.machine import Machine

pytestmark = [pytest.mark.root, pytest.mark.timeout(150, func_only=True)]

SOURCES = "/etc /root /home /opt /boot /srv/data /usr/lib/modules /usr/local /var/spool"
VARIANTS = {"strict": "", "hooks": "--allow-hooks", "in place": "--allow-hooks --allow-restore-in-place"}


@pytest.fixture(scope="module")
def host(boot: Callable[[], Machine], server: Server) -> Host:
    machine = boot()
    machine.out(
        "mkdir -p /srv/backup /srv/data /home/eve/private /usr/lib/modules/6.1.0 /opt/app /boot;"
        "useradd -m -d /home/ann ann; echo module > /usr/lib/modules/6.1.0/a.ko; echo x > /opt/app/run;"
        "echo hidden > /home/eve/private/letter; chmod 000 /home/eve/private/letter; chmod 700 /home/eve;"
        "echo key > /root/.key; chmod 600 /root/.key; chown ann /srv/data; ln -s nowhere /srv/data/link;"
        "head -c 3000000 /dev/urandom > /srv/data/large; printf x > '/srv/data/odd name\nwith newline'"
    )
    return install(machine, server, "--writable", "/srv/backup")


@dataclass
class Probe:
    """Runs a command under exactly the properties of the installed unit."""

    machine: Machine

    def run(self, command: str, *, more: str = "") -> tuple[int, str]:
        self.machine.out(
            "sed -e '/^Type=/d;/^Restart/d;/^Watchdog/d;/^TimeoutStart/d'"
            f" -e 's|^ExecStart=.*|Type=oneshot\\nExecStart=/bin/sh /run/probe.sh{more}|'"
            " /etc/systemd/system/rm-agent.service > /run/systemd/system/rm-probe.service;"
            "rm -rf /run/systemd/system/rm-probe.service.d;"
            "if [ -d /etc/systemd/system/rm-agent.service.d ]; then"
            " cp -r /etc/systemd/system/rm-agent.service.d /run/systemd/system/rm-probe.service.d; fi"
        )
        self.machine.write("/run/probe.sh", f"exec >/var/lib/restic-manager-agent/probe.out 2>&1\n{command}\n")
        done = self.machine.run("systemctl daemon-reload; systemctl start rm-probe", timeout=120)
        return done.returncode, self.machine.out("cat /var/lib/restic-manager-agent/probe.out")


@pytest.fixture
def probe(host: Host) -> Probe:
    return Probe(host.machine)


def assert_everything_comes_back(host: Host, probe: Probe) -> None:
    """A backup of all sources holds every file, and a restore under the same unit gives back every byte and owner."""
    ended = host.finish(host.order(kind="backup", source_group_id=host.groups["everything"]), seconds=90)

    assert ended["outcome"] == "succeeded", ended
    wanted = set(host.machine.out(f"find {SOURCES} ! -name '*newline'").splitlines())
    held = set(host.restic("ls latest").splitlines())
    assert {path for path in wanted - held if "/" in path} == set()
    assert "/usr/lib/modules/6.1.0/a.ko" in held

    code, said = probe.run(
        f"rm -rf /var/restic-manager/restore/all; RESTIC_PASSWORD='{PASSWORD}' restic -r /srv/backup --no-cache"
        " --no-lock restore latest --target /var/restic-manager/restore/all"
    )
    assert code == 0, said
    different = host.machine.run(
        f"for d in {SOURCES}; do diff -r --no-dereference /var/restic-manager/restore/all$d $d; done"
    )
    assert different.stdout + different.stderr == ""
    owners = "find . -printf '%p %u:%g %m\\n' | sort | sha256sum"
    assert host.machine.out(f"cd /var/restic-manager/restore/all/home && {owners}") == host.machine.out(
        f"cd /home && {owners}"
    )


def test_a_backup_under_the_strict_unit_holds_every_file_and_every_byte(host: Host, probe: Probe) -> None:
    host.use_repository("/srv/backup")
    host.group("everything", *SOURCES.split())

    assert_everything_comes_back(host, probe)


def test_protect_kernel_modules_would_hide_files_from_a_backup(probe: Probe) -> None:
    _, hidden = probe.run("ls /usr/lib/modules", more="\\nProtectKernelModules=yes")
    _, shown = probe.run("ls /usr/lib/modules")

    assert "6.1.0" not in hidden
    assert shown == "6.1.0"


def test_without_writable_the_strict_unit_lets_nothing_be_written_elsewhere(probe: Probe) -> None:
    _, said = probe.run(
        "for d in /etc /usr /srv /home /root /boot /opt /var/lib; do touch $d/x 2>/dev/null && echo wrote $d;"
        " done; touch /var/restic-manager/restore/x /srv/backup/x /usr/local/lib/restic-manager/x && echo allowed"
    )

    assert said == "allowed"


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
def test_each_variant_protects_the_kernel_and_lets_a_hook_change_its_user(
    host: Host, probe: Probe, options: str
) -> None:
    host.machine.out(fetched(host.server, *options.split()))

    _, said = probe.run(
        "runuser -u nobody -- id -un; setpriv --reuid=ann --regid=ann --clear-groups id -un;"
        "grep NoNewPrivs /proc/self/status | tr -d '\\t'; echo 1 > /proc/sys/kernel/sysrq || echo refused;"
        "chrt -f 1 true 2>/dev/null || echo refused"
    )

    assert host.is_connected()
    assert [line for line in said.splitlines() if "cannot create" not in line] == [
        "nobody", "ann", "NoNewPrivs:1", "refused", "refused",
    ]  # fmt: skip


def test_with_hooks_allowed_data_may_be_written_and_the_system_may_not(host: Host, probe: Probe) -> None:
    host.machine.out("sed -i '/^restore_in_place/d' /etc/restic-manager/agent.toml")
    host.machine.out(fetched(host.server, "--allow-hooks"))

    _, said = probe.run("for d in /srv /var/lib /root /etc /usr; do touch $d/x 2>/dev/null && echo wrote $d; done")

    assert said.splitlines() == ["wrote /srv", "wrote /var/lib", "wrote /root"]


def test_in_place_restores_may_write_everywhere_and_a_later_run_keeps_it_so(host: Host, probe: Probe) -> None:
    host.machine.out(fetched(host.server, "--allow-restore-in-place"))
    host.machine.out(fetched(host.server))

    _, said = probe.run("for d in /srv /etc /usr; do touch $d/x 2>/dev/null && echo wrote $d; done")

    assert said.splitlines() == ["wrote /srv", "wrote /etc", "wrote /usr"]
    assert "restore_in_place = true" in host.machine.out("cat /etc/restic-manager/agent.toml")


@pytest.mark.parametrize("options", list(VARIANTS.values())[1:], ids=list(VARIANTS)[1:])
def test_a_backup_under_the_other_variants_holds_everything_too(host: Host, probe: Probe, options: str) -> None:
    host.machine.out("sed -i '/^restore_in_place/d' /etc/restic-manager/agent.toml")
    host.machine.out(fetched(host.server, *options.split()))
    host.wait_until_connected()

    assert_everything_comes_back(host, probe)
