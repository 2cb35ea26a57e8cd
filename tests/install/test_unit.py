"""The shipped unit says what the design says, line by line."""

import configparser

import pytest

from tests.install.server import ROOT


class Unit(configparser.RawConfigParser):
    def optionxform(self, optionstr: str) -> str:
        return optionstr


@pytest.fixture(scope="module")
def unit() -> Unit:
    found = Unit(strict=True)
    text = (ROOT / "agent" / "packaging" / "rm-agent.service").read_text()
    found.read_string("\n".join(line for line in text.splitlines() if line != "@FILES@"))
    return found


def test_the_agent_is_restarted_whatever_ends_it(unit: Unit) -> None:
    service = dict(unit["Service"])

    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert {name: service[name] for name in ("Type", "Restart", "RestartSec", "SuccessExitStatus")} == {
        "Type": "simple", "Restart": "always", "RestartSec": "2", "SuccessExitStatus": "75",
    }  # fmt: skip
    assert not {"RestartPreventExitStatus", "ExecStartPre", "StartLimitBurst"} & service.keys()


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
