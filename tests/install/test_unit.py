"""The shipped units say what the design says, line by line."""

import configparser
import re

import pytest

from tests.install.server import ROOT


class Unit(configparser.RawConfigParser):
    def optionxform(self, optionstr: str) -> str:
        return optionstr


def shipped(name: str) -> Unit:
    found = Unit(strict=True)
    text = (ROOT / "agent" / "packaging" / name).read_text()
    found.read_string("\n".join(line for line in text.splitlines() if line != "@FILES@"))
    return found


@pytest.fixture(scope="module")
def unit() -> Unit:
    return shipped("rm-agent.service")


def test_the_agent_is_restarted_whatever_ends_it(unit: Unit) -> None:
    service = dict(unit["Service"])

    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert {name: service[name] for name in ("Type", "Restart", "RestartSec", "SuccessExitStatus")} == {
        "Type": "simple", "Restart": "always", "RestartSec": "2", "SuccessExitStatus": "75",
    }  # fmt: skip
    assert not {"RestartPreventExitStatus", "RestartForceExitStatus", "StartLimitBurst"} & service.keys()


def test_the_guard_decides_before_each_start_and_cannot_prevent_one(unit: Unit) -> None:
    service = dict(unit["Service"])

    assert service["ExecStartPre"] == "-/bin/sh @LIB@/rm-agent-guard check"
    assert service["Environment"] == "RM_PYTHON=@PYTHON@ RM_GUARD_VERSION=@GUARD_VERSION@"
    assert {name for name in service if name.startswith("Exec")} == {"ExecStartPre", "ExecStart"}


def test_a_trial_starts_the_watch_and_nothing_limits_how_often() -> None:
    path, service = shipped("rm-agent-trial.path"), shipped("rm-agent-trial.service")

    assert dict(path["Path"]) == {"PathExists": "@STATE@/update/trial"}
    assert path["Install"]["WantedBy"] == "multi-user.target"
    assert service["Unit"]["StartLimitIntervalSec"] == "0"
    names = ("Type", "ExecStart", "Restart", "RestartSec", "ReadWritePaths")
    assert [service["Service"][name] for name in names] == [
        "simple", "/bin/sh @LIB@/rm-agent-guard watch", "on-failure", "2", "@STATE@",
    ]  # fmt: skip


def test_the_watch_may_do_less_than_the_agent(unit: Unit) -> None:
    service = dict(shipped("rm-agent-trial.service")["Service"])

    same = (
        "NoNewPrivileges", "ProtectKernelTunables", "ProtectKernelLogs", "ProtectControlGroups", "SystemCallFilter",
        "SystemCallErrorNumber", "LockPersonality", "RestrictRealtime", "UMask",
    )  # fmt: skip
    for name in same:
        assert service[name] == unit["Service"][name], name
    assert (service["ProtectSystem"], service["ProtectHome"]) == ("strict", "read-only")


def test_the_hosts_deadlines_come_before_the_servers(unit: Unit) -> None:
    guard = (ROOT / "agent" / "guard" / "rm-agent-guard").read_text()
    [tick] = re.findall(r"^tick_length=\$\{RM_GUARD_TICK:-(\d+)\}$", guard, re.MULTILINE)
    [hang] = re.findall(r"^HANG_TICKS=(\d+)$", guard, re.MULTILINE)
    [limit] = re.findall(r'number_or "\$limit_s" (\d+)$', guard, re.MULTILINE)
    watchdog, abort = (int(unit["Service"][name]) for name in ("WatchdogSec", "TimeoutAbortSec"))
    hello, server, fleet = 75, 90, 95

    assert int(tick) * int(hang) < int(limit) < hello < server < fleet
    assert watchdog + abort < int(limit)
    assert int(limit) + int(tick) + int(unit["Service"]["RestartSec"]) < hello


def test_a_hanging_agent_is_noticed_and_ended(unit: Unit) -> None:
    names = ("NotifyAccess", "WatchdogSec", "TimeoutAbortSec", "TimeoutStartSec")

    assert [unit["Service"][name] for name in names] == ["main", "30", "5", "30"]


def test_a_running_restic_is_left_alone_when_the_agent_ends(unit: Unit) -> None:
    assert unit["Service"]["KillMode"] == "process"


def test_the_kernel_is_protected_and_nothing_is_hidden_from_a_backup(unit: Unit) -> None:
    service = dict(unit["Service"])

    for name in ("NoNewPrivileges", "ProtectKernelTunables", "ProtectKernelLogs", "ProtectControlGroups",
                 "LockPersonality", "RestrictRealtime"):  # fmt: skip
        assert service[name] == "yes", name
    assert service["SystemCallFilter"] == "~@module"
    hiding = {"ProtectKernelModules", "ProtectHome", "PrivateTmp", "PrivateDevices", "InaccessiblePaths"}
    cutting = {"CapabilityBoundingSet", "AmbientCapabilities", "User", "RestrictSUIDSGID"}
    assert not (hiding | cutting) & service.keys()


def test_it_starts_at_boot_with_the_python_that_was_found(unit: Unit) -> None:
    assert unit["Install"]["WantedBy"] == "multi-user.target"
    assert unit["Service"]["ExecStart"] == "@PYTHON@ -I @LIB@/rm-agent run"
