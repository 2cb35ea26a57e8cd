"""The end-to-end tests in containers name only what is there, and what the tests themselves know."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e import prepare, stages
from rm.config import Settings
from tests.install.server import ROOT

FILE = ROOT / "e2e" / "compose.e2e.yml"


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())["services"]
    return found


def test_the_hosts_are_those_of_the_story(services: dict[str, Any]) -> None:
    hosts = {name: service for name, service in services.items() if "build" in service}

    assert tuple(hosts) == stages.NAMES
    for name, service in hosts.items():
        assert service["hostname"] == name
        assert service["environment"] == {"RM_SERVER": "http://server:8080"}
        place = FILE.parent / service["build"]
        assert (place / "Dockerfile").is_file()
        assert (place / "announce").stat().st_mode & 0o111


def test_the_server_has_the_secrets_and_the_address_of_the_story(
    services: dict[str, Any],
) -> None:
    given = services["server"]["environment"]

    settings = Settings.from_env(given)

    assert settings.base_url == "http://server:8080"
    assert settings.cookie_secure is False
    assert (given["RM_SETUP_TOKEN"], given["RM_METRICS_TOKEN"]) == (stages.SETUP_TOKEN, stages.METRICS_TOKEN)
    assert services["server"]["ports"] == [f"{stages.COMPOSE_URL.removeprefix('http://')}:8080"]


def test_the_releases_are_where_prepare_puts_them(services: dict[str, Any]) -> None:
    [where] = [volume for volume in services["server"]["volumes"] if volume.endswith(":/releases:ro")]

    assert (FILE.parent / where.split(":")[0]).resolve() == prepare.PLACE / "releases"


def test_prepare_makes_all_releases_and_a_tree_that_holds_the_first_and_touches_no_real_one(tmp_path: Path) -> None:
    place = tmp_path / "e2e"
    before = real_release()

    prepare.prepare(place)

    assert {path.name for path in (place / "releases").iterdir()} == set(stages.RELEASES)
    for path in (place / "releases").rglob("*"):
        assert path.stat().st_mode & 0o044 == 0o044, f"the server's user cannot read {path}"
    assert not list(place.rglob("*.key"))
    own = place / "tree" / "dist" / "release" / "manifest.json"
    assert own.read_bytes() == (place / "releases" / "1.0.0" / "manifest.json").read_bytes()
    assert real_release() == before


def real_release() -> dict[str, float]:
    return {path.name: path.stat().st_mtime for path in (ROOT / "dist" / "release").glob("*")}


def test_the_verb_builds_the_image_that_compose_asks_for_from_the_tree_of_prepare(services: dict[str, Any]) -> None:
    recipe = (ROOT / "Makefile").read_text()

    tree = (prepare.PLACE / "tree").relative_to(ROOT)
    assert f"{tree}/scripts/image {services['server']['image']}" in recipe
    assert str(FILE.relative_to(ROOT)) in recipe
