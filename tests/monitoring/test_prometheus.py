"""What Prometheus and Grafana are given: Prometheus' own tool finds nothing wrong with it."""

import dataclasses
import ipaddress
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask.testing import FlaskClient

from rm.domain.figures import FIGURES, PROCESS_PREFIXES
from rm.events import EventBus
from rm.runtime import Runtime
from rm.web.metrics import TOKEN_FILE, scrape_config
from tests.cast import EnrolledHost
from tests.monitoring import everything

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
RULES_TEST = ROOT / "deploy" / "prometheus" / "rules_test.yml"
SCRAPE = ROOT / "deploy" / "prometheus" / "scrape.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "restic-manager.json"
OF_PROMETHEUS = {"up"}
VARIABLES = {"$host": ".*", "$job": "restic-manager"}

Promtool = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def promtool() -> Promtool:
    """promtool(*arguments, input=…) → what it said."""
    found = shutil.which("promtool")
    if found is None:
        looked = subprocess.run(
            [ROOT / "scripts" / "unpacked", "--where", "prometheus", "usr/bin/promtool"], capture_output=True, text=True
        )
        found = looked.stdout.strip()
    if not found:
        pytest.skip("needs promtool: scripts/system-packages promtool")

    def run(*arguments: object, given: str | None = None, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [found, *map(str, arguments)], input=given, cwd=cwd, capture_output=True, text=True, timeout=110
        )

    return run


def expressions() -> Iterator[tuple[str, str]]:
    """(panel, expression) of the dashboard."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            yield panel["title"], expression


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\b(?:restic_manager|process|python)_[a-z0-9_]+\b", text))


def known_names() -> set[str]:
    return {name for figure in FIGURES.values() for name in figure.series}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


# ---- what is scraped ----


@pytest.fixture
def scraped(client: FlaskClient, parts: Runtime, bus: EventBus, web1: EnrolledHost, db1: EnrolledHost) -> str:
    everything.fill(bus, web1, db1)
    parts.scrapes.fresh_seconds = 0
    parts.settings = dataclasses.replace(parts.settings, metrics_trusted_cidr=(ipaddress.ip_network("127.0.0.0/8"),))
    return client.get("/metrics").text


def test_names_and_units_keep_to_the_conventions(promtool: Promtool, scraped: str) -> None:
    done = promtool("check", "metrics", given=scraped)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_tool_would_have_told(promtool: Promtool, scraped: str) -> None:
    wrong = "# HELP restic_manager_wait_milliseconds Wrong.\n# TYPE restic_manager_wait_milliseconds counter\n"

    done = promtool("check", "metrics", given=scraped + wrong + "restic_manager_wait_milliseconds 1\n")

    assert done.returncode != 0
    assert "_total" in done.stderr and "seconds" in done.stderr


def test_every_listed_figure_is_among_them(scraped: str) -> None:
    said = set(re.findall(r"^(restic_manager_[a-z_]+)[ {]", scraped, re.MULTILINE))

    assert known_names() - said == set()


# ---- rules ----


def test_the_rules_are_accepted(promtool: Promtool) -> None:
    done = promtool("check", "rules", RULES)

    assert done.returncode == 0, done.stdout + done.stderr


def test_each_rule_fires_when_it_should_and_none_for_a_healthy_fleet(promtool: Promtool) -> None:
    done = promtool("test", "rules", RULES_TEST.name, cwd=RULES_TEST.parent)

    assert done.returncode == 0, done.stdout + done.stderr


def test_no_rule_is_without_a_test_that_it_fires_and_one_that_it_does_not() -> None:
    cases = [
        (case["alertname"], bool(case["exp_alerts"]), test["name"])
        for test in yaml.safe_load(RULES_TEST.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    names = {rule["alert"] for rule in rules()}

    assert {name for name, fires, _ in cases if fires} == names
    assert {name for name, fires, test in cases if not fires and test == "a healthy fleet"} == names


def test_rules_speak_only_of_figures_that_there_are() -> None:
    assert names_in(RULES.read_text()) - known_names() == set()


def test_every_rule_says_how_grave_it_is_and_what_is_wrong() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical"), rule
        assert rule["annotations"]["summary"].endswith("."), rule


# ---- the dashboard ----


def test_every_expression_of_the_dashboard_is_one(promtool: Promtool, tmp_path: Path) -> None:
    found = [{"record": f"panel:{number}", "expr": expression} for number, (_, expression) in enumerate(expressions())]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": found}]}))

    done = promtool("check", "rules", file)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(found)} rules found" in done.stdout and len(found) > 40


def test_the_dashboard_shows_only_figures_that_there_are() -> None:
    wrong = {
        (panel, name)
        for panel, expression in expressions()
        for name in names_in(expression)
        if name not in known_names() and not name.startswith(PROCESS_PREFIXES)
    }

    assert wrong == set()


def test_the_dashboards_process_figures_are_there(scraped: str) -> None:
    used = {name for _, expression in expressions() for name in names_in(expression)}

    assert {name for name in used if name.startswith(PROCESS_PREFIXES) and f"\n{name}" not in scraped} == set()


def test_labels_that_the_dashboard_asks_for_are_on_its_figures() -> None:
    wrong = []
    for panel, expression in expressions():
        for name, asked in re.findall(r"\b(restic_manager_\w+)\{([^}]*)\}", expression):
            for base in FIGURES.values():
                if name in base.series:
                    labels = set(re.findall(r"(\w+)\s*=~?", asked.replace("!=", "=")))
                    wrong += [(panel, name, label) for label in labels - set(base.labels) - {"job"}]

    assert wrong == []


def test_panels_do_not_lie_on_each_other_and_have_one_id_each() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & cells and at["x"] + at["w"] <= 24, panel["title"]
        cells |= own

    assert len({panel["id"] for panel in panels}) == len(panels)


# ---- the configuration ----


def with_token_in(tmp_path: Path, text: str) -> str:
    token = tmp_path / "token"
    token.write_text("secret")
    return text.replace(TOKEN_FILE, str(token))


def test_the_configuration_is_accepted_with_the_rules_beside_it(promtool: Promtool, tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path / "rules.yml")
    (tmp_path / "prometheus.yml").write_text(with_token_in(tmp_path, SCRAPE.read_text()))

    done = promtool("check", "config", tmp_path / "prometheus.yml")

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules())} rules found" in done.stdout


@pytest.mark.parametrize("wants_token", [True, False])
@pytest.mark.parametrize(
    ("base_url", "scheme", "target"),
    [
        ("https://backup.example.org", "https", "backup.example.org:443"),
        ("http://127.0.0.1:8080", "http", "127.0.0.1:8080"),
        ("http://[::1]:8080", "http", "[::1]:8080"),
    ],
)
def test_what_the_page_shows_to_copy_is_accepted(
    promtool: Promtool, tmp_path: Path, base_url: str, scheme: str, target: str, wants_token: bool
) -> None:
    text = with_token_in(tmp_path, scrape_config(base_url, wants_token=wants_token))
    (tmp_path / "prometheus.yml").write_text(text)

    done = promtool("check", "config", tmp_path / "prometheus.yml")

    [job] = yaml.safe_load(text)["scrape_configs"]
    assert done.returncode == 0, done.stdout + done.stderr
    assert (job["scheme"], job["static_configs"][0]["targets"]) == (scheme, [target])
    assert ("authorization" in job) == wants_token
