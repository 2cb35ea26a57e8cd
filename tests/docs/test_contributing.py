"""What somebody who wants to join in finds: forms that load, paths that exist, promises that are written down."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
KINDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_has_what_its_reader_needs(form: Path) -> None:
    found: dict[str, Any] = yaml.safe_load(form.read_text())
    asked = [one for one in found["body"] if one["type"] != "markdown"]

    assert {"name", "description", "body"} <= set(found)
    assert {one["type"] for one in found["body"]} <= KINDS
    assert len({one["id"] for one in asked}) == len(asked)
    assert all(one["attributes"]["label"] for one in asked)
    assert any(one.get("validations", {}).get("required") for one in asked)
    # GitHub refuses a form whose choices are not all text.
    for one in asked:
        choices = one["attributes"].get("options", [])
        assert all(isinstance(each, str) or isinstance(each.get("label"), str) for each in choices), one["id"]


def test_there_is_a_form_for_bugs_and_one_for_features_and_no_way_around_them() -> None:
    config = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml").read_text())

    assert [form.stem for form in FORMS] == ["bug", "feature"]
    assert config["blank_issues_enabled"] is False
    assert (ROOT / ".github" / "pull_request_template.md").is_file()


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_an_action_of_a_workflow_is_named_by_its_commit_with_its_tag_behind_it(workflow: Path) -> None:
    named = re.findall(r"uses: (.*)", workflow.read_text())

    assert named
    assert [one for one in named if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[0-9.]+", one)] == []


def test_an_image_of_the_end_to_end_tests_has_a_version() -> None:
    stack = yaml.safe_load((ROOT / "e2e" / "compose.e2e.yml").read_text())
    images = [one["image"] for one in stack["services"].values() if "build" not in one]

    assert [one for one in images if one.partition(":")[2] in {"", "latest"}] == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md"])
def test_what_is_named_there_exists(name: str) -> None:
    text = (ROOT / name).read_text()
    paths = re.findall(r"`((?:rm|agent|docs|tests|scripts|templates|deploy|settings|\.ci)/[\w./-]+)`", text)

    missing = [path for path in paths if not (ROOT / path).exists() and not (ROOT / "templates" / path).exists()]
    assert paths and missing == []


def test_verbs_of_the_makefile_that_are_named_there_exist() -> None:
    verbs = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))

    assert named - verbs == set()


def test_the_way_to_report_a_problem_of_security_says_when_somebody_answers() -> None:
    text = (ROOT / "SECURITY.md").read_text()

    for words in ("within 3 days", "within 30 days", "In scope", "Out of scope", "threat model", "Hardening checklist"):
        assert words in text, words
