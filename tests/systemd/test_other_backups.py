"""Backups that a host has already: each is named with the way to turn it off, and none is touched."""

from collections.abc import Callable

import pytest

from tests.install.server import Server
from tests.systemd.machine import Machine

pytestmark = [pytest.mark.root, pytest.mark.timeout(120, func_only=True)]

SECRET = "hunter2-in-a-crontab"


def test_each_other_backup_is_named_with_what_turns_it_off_and_goes_on(
    boot: Callable[[], Machine], server: Server
) -> None:
    machine = boot()
    units = "/etc/systemd/system"
    machine.write(f"{units}/nightly.timer", "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n")
    machine.write(f"{units}/nightly.service", "[Service]\nType=oneshot\nExecStart=/usr/bin/restic backup /home\n")
    backrest = "[Service]\nExecStart=/usr/local/bin/backrest\n[Install]\nWantedBy=basic.target\n"
    machine.write(f"{units}/backrest.service", backrest)
    machine.write("/usr/local/bin/backrest", "#!/bin/sh\nexec sleep 900\n", mode=0o755)
    machine.write(f"{units}/asleep.timer", "[Unit]\nDescription=restic, turned off\n[Timer]\nOnCalendar=daily\n")
    machine.write("/etc/cron.d/own", f"# restic\n0 3 * * * root RESTIC_PASSWORD={SECRET} restic backup /etc\n")
    machine.write("/etc/cron.daily/borgmatic", "#!/bin/sh\nborgmatic --verbosity 1\n", mode=0o755)
    machine.out(f"printf '0 4 * * * date\\n5 4 * * * RESTIC_PASSWORD={SECRET} resticprofile backup\\n' | crontab -")
    machine.out("systemctl daemon-reload && systemctl enable --now nightly.timer backrest.service")

    said = machine.out(server.line()[0])

    ways = dict(line.removeprefix("  - ").split(":   ") for line in said.splitlines() if line.startswith("  - "))
    assert ways == {
        "systemd unit nightly.timer": "systemctl disable --now nightly.timer",
        "systemd unit backrest.service": "systemctl disable --now backrest.service",
        "/etc/cron.d/own, line 2": "sed -i '2s/^/#/' /etc/cron.d/own",
        "cron of user root, line 2": "crontab -u root -e   # put a # before line 2",
        "/etc/cron.daily/borgmatic": "chmod a-x /etc/cron.daily/borgmatic",
    }
    assert SECRET not in said
    assert machine.out("systemctl is-active nightly.timer backrest.service").split() == ["active", "active"]
    for way in ways.values():
        if not way.startswith("crontab"):
            machine.out(way)
    again = machine.out(f"curl -fsS {server.base_url}/install.sh | sh")
    assert [line for line in again.splitlines() if line.startswith("  - ")] == [
        "  - cron of user root, line 2:   crontab -u root -e   # put a # before line 2"
    ]
