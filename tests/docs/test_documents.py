"""The documents hold together: links lead somewhere, decisions have their shape, the changelog its section."""

import re
from pathlib import Path

import pytest

from tests.docs.tracked import ROOT, tracked_files

ADRS = sorted((ROOT / "docs" / "adr").glob("*.md"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)

each_adr = pytest.mark.parametrize("adr", ADRS, ids=lambda path: path.stem)


def prose(path: Path) -> str:
    return CODE.sub("", path.read_text())


def anchors(path: Path) -> set[str]:
    """The anchors that headings get, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()).strip() for heading in headings]
    return {re.sub(r" ", "-", heading) for heading in plain}


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for page in (path for path in tracked_files() if path.suffix == ".md"):
        for link in LINK.findall(prose(page)):
            if re.match(r"[a-z]+:", link):
                continue
            target, _, anchor = link.partition("#")
            file = page.parent / target if target else page
            if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
                broken.append(f"{page.relative_to(ROOT)}: {link}")

    assert broken == []


def test_the_changelog_has_a_section_for_what_is_unreleased() -> None:
    headings = re.findall(r"^## .*$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert headings[0] == "## Unreleased"
    assert [line for line in headings[1:] if not re.fullmatch(r"## \d+\.\d+(\.\d+)? - \d{4}-\d\d-\d\d", line)] == []


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = [int(path.name[:4]) for path in ADRS]

    assert numbers == list(range(1, len(ADRS) + 1))


@each_adr
def test_a_decision_has_its_four_sections(adr: Path) -> None:
    text = adr.read_text()

    assert re.match(rf"# {int(adr.name[:4])}\. \S.*\n", text)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Status", "Context", "Decision", "Consequences"]


@each_adr
def test_a_decision_says_whether_it_holds(adr: Path) -> None:
    status = adr.read_text().partition("## Status\n")[2].partition("\n## ")[0].strip()

    assert re.match(r"(Accepted|Proposed|Superseded by \[.+\]\(.+\)), \d{4}-\d\d-\d\d\.", status)


@each_adr
def test_a_decision_fits_on_a_page(adr: Path) -> None:
    assert len(adr.read_text().splitlines()) <= 60


@each_adr
def test_the_list_of_decisions_names_it(adr: Path) -> None:
    assert f"(adr/{adr.name})" in (ROOT / "docs" / "index.md").read_text()


def test_the_navigation_names_every_page() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]

    assert sorted(page for page in pages if f": {page}\n" not in navigation) == []


def test_the_code_map_names_every_directory_that_holds_code() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    holding = {
        path.parent.relative_to(ROOT).as_posix()
        for path in tracked_files()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in ("rm", "agent")
    }

    assert sorted(name for name in holding if f"`{name}/`" not in page) == []


def test_every_verb_of_make_is_in_the_readme() -> None:
    verbs = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    readme = (ROOT / "README.md").read_text()

    assert [verb for verb in verbs if verb != "help" and f"`make {verb}" not in readme] == []
