"""Every address, command and kind of thing that the code has is in the reference, and no picture is missing or idle."""

import re
import subprocess
from pathlib import Path

import pytest

from agent.__main__ import _parser as agent_parser
from release_tool.__main__ import _parser as release_parser
from rm.cli import rm_commands
from scripts import cli_page, http_page
from tests.docs.tracked import ROOT

DOCS = ROOT / "docs"
PICTURES = DOCS / "images"
SHOWN = re.compile(r"images/([\w.-]+\.png)")
RUN_HERE = {
    "operations/server-care.md", "operations/disaster-recovery.md",  # test_care_pages.py
    "operations/monitoring.md",  # tests/monitoring
    "operations/upgrading.md", "concepts/hooks.md",
}  # fmt: skip


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def shown_pictures() -> set[str]:
    return {name for page in pages() for name in SHOWN.findall(page.read_text(encoding="utf-8"))}


def shell_blocks(page: Path) -> list[str]:
    return re.findall(r"^ *```sh\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_page_of_addresses_is_current() -> None:
    assert http_page.PAGE.read_text() == http_page.page(), "run `make docs`"


def test_the_page_of_command_lines_is_current() -> None:
    assert cli_page.PAGE.read_text() == cli_page.page(), "run `make docs`"


def test_every_address_is_documented_with_each_of_its_methods(app) -> None:
    page = http_page.PAGE.read_text()

    missing = []
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        missing += [
            f"{method} {path}"
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
            if f"| {method} | `{path}` |" not in page
        ]

    assert missing == []


def test_every_address_says_what_it_is_for() -> None:
    rows = re.findall(r"^\| [A-Z]+ \| `([^`]+)` \|.*\| ([^|]*) \|$", http_page.PAGE.read_text(), re.MULTILINE)

    assert len(rows) > 300
    assert [path for path, what in rows if not what.endswith((".", "?", "!"))] == []


def test_every_verb_of_each_program_is_documented() -> None:
    page = cli_page.PAGE.read_text()
    verbs = [f"rm {words}" for words, _ in cli_page.click_verbs(rm_commands)]
    verbs += [f"rm-agent {name}" for name, _, _ in cli_page.argparse_verbs(agent_parser())]
    verbs += [f"rm-release {name}" for name, _, _ in cli_page.argparse_verbs(release_parser())]

    assert len(verbs) > 25
    assert [verb for verb in verbs if not re.search(rf"^### `{verb}[ `]", page, re.MULTILINE)] == []


def test_every_option_of_each_program_says_what_it_is_for() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]*) \|$", cli_page.PAGE.read_text(), re.MULTILINE)

    assert [name for name, what in rows if not what] == []


def test_every_picture_that_a_page_shows_is_there_and_every_one_that_is_there_is_shown() -> None:
    kept = {path.name for path in PICTURES.glob("*.png")}

    assert sorted(shown_pictures() - kept) == []
    assert sorted(kept - shown_pictures()) == []


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda path: path.stem)
def test_a_picture_is_shown_in_light_and_in_dark(page: Path) -> None:
    found = re.findall(r"images/([\w.-]+)-(light|dark)\.png#only-(\w+)\)", page.read_text(encoding="utf-8"))

    assert [name for name, shade, only in found if shade != only] == []
    for name, shade, _ in found:
        other = "dark" if shade == "light" else "light"
        assert (name, other, other) in found, name


def test_every_picture_has_words_for_those_who_do_not_see_it() -> None:
    texts = [page.read_text(encoding="utf-8") for page in pages()]

    assert [found for text in texts for found in re.findall(r"!\[\]\([^)]*\)|<img(?![^>]*alt=)[^>]*>", text)] == []


def test_a_page_whose_shell_lines_are_to_be_typed_as_they_are_has_them_run_by_a_test() -> None:
    found = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md") if shell_blocks(page)}

    assert found - RUN_HERE == set()


def test_the_copy_before_an_upgrade_is_made_as_its_page_says(app, settings, tmp_path) -> None:
    [line] = [block.strip() for block in shell_blocks(DOCS / "operations" / "upgrading.md")]
    target = tmp_path / "before-upgrade.db"

    words = line.replace("/srv/elsewhere/before-upgrade.db", str(target)).removeprefix("flask --app app ").split()
    done = app.test_cli_runner().invoke(args=words)

    assert done.exit_code == 0, done.output
    assert target.read_bytes().startswith(b"SQLite format 3")


def test_the_hook_that_the_page_shows_is_a_script_that_a_shell_can_read() -> None:
    [script] = shell_blocks(DOCS / "concepts" / "hooks.md")

    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0


def test_the_glossary_has_each_word_once_and_in_order() -> None:
    words = re.findall(r"^\| \*\*([^*]+)\*\* \|", (DOCS / "reference" / "glossary.md").read_text(), re.MULTILINE)

    assert len(words) > 40
    assert words == sorted(set(words), key=lambda word: word.split(",")[0].lower())
