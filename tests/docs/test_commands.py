"""What a page tells people to type, press or set exists: verbs, options, addresses, settings, menu entries, files."""

import argparse
import functools
import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from agent.__main__ import _parser as agent_parser
from release_tool.__main__ import _parser as release_parser
from rm.cli import rm_commands
from rm.web.settings_tabs import TABS
from scripts.cli_page import argparse_verbs, click_verbs
from tests.docs.tracked import ROOT, tracked_files, tracked_texts

GENERATED = {"docs/reference/http.md", "docs/reference/cli.md", "docs/settings.md", "docs/protocol.md"}
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
PROGRAMS = re.compile(r"(?:flask --app app rm|(?<![\w/-])rm-agent|(?:scripts/|(?<![\w/-]))rm-release)(?= [a-z-])")
# Where a command ends within a line, and where words for people begin.
END = re.compile(r"[;|&#`'\n…]|\s{2,}| # ")
# What the reader chooses, and what a word in capitals or brackets stands for.
STANDS_FOR = re.compile(r"[A-Z_]+|<.+>")
PATH = re.compile(
    r"`((?:\.ci|\.github|agent|bench|demo|deploy|docs|e2e|release_tool|requirements|rm|scripts|static|templates|tests)"
    r"/[\w./-]+|[\w-]+\.(?:py|sql|toml|ya?ml|md))`"
)
# Names of files that are on hosts or where keys are, not in the tree; and those that a verb makes.
ELSEWHERE = {"agent.toml"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def typed(page: Path) -> list[str]:
    """Lines of its blocks and what it says in code between words, each on one line."""
    text = page.read_text(encoding="utf-8")
    lines = [line for _, block in BLOCK.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    return lines + [re.sub(r"\s+", " ", code) for code in re.findall(r"`([^`]+)`", BLOCK.sub("", text))]


def calls(page: Path) -> list[tuple[str, list[str]]]:
    """Each call of one of the three programs: which, and its words."""
    found = []
    for line in typed(page):
        for start in PROGRAMS.finditer(line):
            rest = END.split(line[start.end() :])[0]
            found.append((start[0].split()[-1].removeprefix("scripts/"), rest.split()))
    return found


@functools.cache
def settings_that_are_read() -> set[str]:
    """Each variable of the environment that is named outside the documentation."""
    return {
        name
        for path, text in tracked_texts()
        if path.suffix != ".md" and path.parts[0] != "docs"
        for name in re.findall(r"\bRM_[A-Z_]*[A-Z]\b", text)
    }


@functools.cache
def names_in_the_tree() -> set[str]:
    return {path.name for path in tracked_files()}


def server_verbs() -> dict[str, set[str]]:
    return {
        words: {name for one in command.params if isinstance(one, click.Option) for name in one.opts}
        for words, command in click_verbs(rm_commands)
    }


def parsed_verbs(parser: argparse.ArgumentParser) -> dict[str, set[str]]:
    return {
        name: {option for action in verb._actions for option in action.option_strings}
        for name, verb, _ in argparse_verbs(parser)
    }


VERBS = {"rm": server_verbs(), "rm-agent": parsed_verbs(agent_parser()), "rm-release": parsed_verbs(release_parser())}


def wrong_in(program: str, words: list[str]) -> str:
    """What is wrong with a call, or nothing."""
    verbs = VERBS[program]
    verb = next((" ".join(words[:count]) for count in (2, 1) if " ".join(words[:count]) in verbs), None)
    if verb is None:
        return f"{program} {' '.join(words[:2])}: no such verb"
    options = [word.split("=")[0] for word in words if word.startswith("--")]
    unknown = [option for option in options if option not in verbs[verb] | {"--help"}]
    return f"{program} {verb}: no {', '.join(unknown)}" if unknown else ""


@each_page
def test_a_command_that_a_page_names_has_that_verb_and_these_options(page: Path) -> None:
    assert [wrong for program, words in calls(page) if (wrong := wrong_in(program, words))] == []


def test_a_wrong_verb_and_a_wrong_option_would_be_seen() -> None:
    assert wrong_in("rm", ["release", "import", "dist/release", "--promote"]) == ""
    assert wrong_in("rm", ["release", "throw"]) != ""
    assert wrong_in("rm-agent", ["doctor", "--nothing"]) != ""
    assert sum(len(calls(page)) for page in PAGES if name_of(page) not in GENERATED) > 40


@each_page
def test_a_verb_of_make_that_a_page_names_exists(page: Path) -> None:
    verbs = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {verb for line in typed(page) for verb in re.findall(r"(?:^|[\s;&])make ([a-z][a-z0-9-]*)", f" {line}")}

    assert named - verbs == set()


@each_page
def test_a_shell_block_can_be_read_by_a_shell(page: Path) -> None:
    for language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        words = re.search(r"^ *(?:make|sudo|docker|flask|curl|restic|export|cd|git|scripts/\S+) ", block, re.MULTILINE)
        if language not in ("", "sh") or not words or re.search(r"<[a-z ]+>", block):
            continue
        done = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stderr}"


def test_an_address_of_the_api_that_a_page_names_exists(app) -> None:
    methods: dict[str, set[str]] = {}
    for rule in app.url_map.iter_rules():
        methods.setdefault(shape(rule.rule), set()).update(rule.methods or ())

    named = [
        (name_of(page), method, path)
        for page in PAGES
        for line in typed(page)
        for method, written in re.findall(r"\b(GET|POST|PUT|PATCH|DELETE) +(/api/v1/(?:<[^>]+>|[^\s`?…])*)", line)
        for path in choices(written)
    ]
    assert len(named) > 20
    assert [found for found in named if found[1] not in methods.get(shape(found[2]), set())] == []


def shape(path: str) -> str:
    """A path with what is chosen in it left open."""
    return re.sub(r"<[^>]+>|\{[^,}]*\}|\$\w+|\b[A-Z]+\b", "{}", path).rstrip(".,)")


def choices(path: str) -> list[str]:
    """The paths that `/a/{b,c}` stands for."""
    several = re.search(r"\{([\w-]+(?:,[\w-]+)+)\}", path)
    if several is None:
        return [path]
    return [path.replace(several[0], each) for each in several[1].split(",")]


@each_page
def test_a_setting_of_the_environment_that_a_page_names_is_read_somewhere(page: Path) -> None:
    named = set(re.findall(r"\bRM_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8")))

    of_its_example = set(re.findall(r"-H \"Authorization: Bearer \$(\w+)\"", page.read_text(encoding="utf-8")))
    assert {
        name for name in named if not {name, name.removesuffix("_FILE")} & settings_that_are_read()
    } - of_its_example == set()


@each_page
def test_a_page_of_the_settings_that_is_named_is_in_their_menu(page: Path) -> None:
    text = re.sub(r"\s+", " ", page.read_text(encoding="utf-8"))
    entries = [word for _, word, _ in TABS]

    named = re.findall(r"(?<!→ )\bSettings → ([^*.,;:)`]+)", text)
    assert [name for name in named if not name.startswith(tuple(entries))] == []


@each_page
def test_a_file_of_the_tree_that_a_page_names_is_there(page: Path) -> None:
    missing = []
    for found in PATH.findall(page.read_text(encoding="utf-8")):
        is_there = (ROOT / found).exists() or ("/" not in found and found in names_in_the_tree() | ELSEWHERE)
        if not is_there and not (ROOT / "templates" / found).exists() and found not in ELSEWHERE:
            missing.append(found)
    assert missing == []


@each_page
def test_options_of_the_installer_that_a_page_names_are_its_own(page: Path) -> None:
    installer = (ROOT / "agent" / "packaging" / "install.sh").read_text(encoding="utf-8")
    named = {
        option
        for line in typed(page)
        for rest in re.findall(r"(?:install\.sh|sh -s --)((?: +(?:-s|--|--[\w-]+|\S+))*)", line)
        for option in re.findall(r"--[a-z][\w-]+", END.split(rest)[0])
    }

    assert {option for option in named if option not in installer} == set()


def test_the_steps_of_making_a_release_are_parsed_as_they_are_written() -> None:
    parser = release_parser()
    page = ROOT / "docs" / "operations" / "releases.md"
    written = [
        words for program, words in calls(page) if program == "rm-release" and not STANDS_FOR.search(" ".join(words))
    ]

    assert [words[0] for words in written][:2] == ["keys", "build"]
    for words in written:
        parser.parse_args(shlex.split(" ".join(words)))
