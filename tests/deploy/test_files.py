"""What the files for starting the server say is what the server understands."""

import configparser
import dataclasses
import ipaddress
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from rm.config import Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = [ROOT / "compose.yaml", *sorted((ROOT / "deploy").glob("*/compose.yaml"))]
UNIT = ROOT / "deploy" / "systemd" / "restic-manager.service"
KNOWN = {spec.metadata["env"] for spec in dataclasses.fields(Settings)}


def read(file: Path) -> dict[str, Any]:
    # Fails at a tag of compose's own, which the compose that Debian 12 brings would not know either.
    found: dict[str, Any] = yaml.safe_load(file.read_text())
    return found


def test_the_plain_file_has_one_service_one_port_and_one_volume():
    found = read(ROOT / "compose.yaml")

    [(name, service)] = found["services"].items()
    assert name == "restic-manager"
    assert service["ports"] == ["127.0.0.1:8080:8080"]
    assert service["volumes"] == ["data:/data"]
    assert list(found["volumes"]) == ["data"]


def test_the_container_has_no_right_that_it_does_not_need():
    service = read(ROOT / "compose.yaml")["services"]["restic-manager"]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["init"] is True


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: str(file.relative_to(ROOT)))
def test_each_setting_that_a_file_gives_exists(file):
    given = read(file)["services"]["restic-manager"]["environment"]

    assert set(given) <= KNOWN


@pytest.mark.parametrize("file", COMPOSE[1:], ids=lambda file: file.parent.name)
def test_behind_a_proxy_the_server_trusts_the_one_address_that_the_proxy_has(file):
    found = read(file)
    server, proxy = found["services"].values()
    [(name, network)] = found["networks"].items()
    address = proxy["networks"][name]["ipv4_address"]

    assert server["networks"] == [name]
    assert server["environment"]["RM_TRUSTED_PROXY"] == f"{address}/32"
    assert ipaddress.ip_address(address) in ipaddress.ip_network(network["ipam"]["config"][0]["subnet"])


def test_the_unit_runs_the_one_command_and_gives_only_settings_that_exist():
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNIT)
    text = UNIT.read_text()

    assert unit["Service"]["ExecStart"].endswith("/gunicorn -c gunicorn.conf.py app:app")
    assert set(re.findall(r"\bRM_[A-Z_]+(?==)", text)) <= KNOWN
    assert unit["Service"]["Restart"] == "always"
    assert int(unit["Service"]["TimeoutStopSec"]) > 3
    assert "ExecReload" not in text
