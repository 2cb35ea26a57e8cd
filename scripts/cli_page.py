"""Writes docs/reference/cli.md from the parsers of the three programs; a test checks that the page is current."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from agent.__main__ import _parser as agent_parser
from release_tool.__main__ import _parser as release_parser
from rm.cli import rm_commands

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "cli.md"

_INTRODUCTION = """# Command lines

*Generated from the programs' own parsers by `make docs`; edit those, not this page.*

| program | where | for whom |
|---|---|---|
| `flask --app app rm` | on the server | who runs the server; each change is in the audit log, as the server's |
| `rm-agent` | on each host | root on that host |
| `scripts/rm-release` | where the release keys are | who makes releases |

`--help` after any of them says the same. They end with 0 when it is done, 1 when it failed with the reason on standard
error, 2 for a command line that does not parse; `rm-agent` ends with 78 when its configuration must be changed first.
Passwords are read from standard input, tokens from `RM_TOKEN`: never from arguments, which every process may read.

In the container: `docker compose exec restic-manager flask --app app rm …`, with `-T` where something is read from
standard input.
"""
_SERVER = """
## The server: `flask --app app rm`

No sign-in is needed: whoever can run it owns the database anyway. It reads the same `RM_…`
[settings](../settings.md) as the server. `restore`, `export` and `check` work on the files alone, also when the server
cannot start. The rest may run while the server does. More about them:
[The server's own care](../operations/server-care.md), [People and accounts](../operations/accounts.md#locked-out),
[Releases](../operations/releases.md#bring-it-to-a-server).

"""
_AGENT = """
## The agent: `rm-agent`

What it keeps, and how it is installed: [Install the agent](../getting-started/install.md).

"""
_RELEASE = """
## Releases: `scripts/rm-release`

How they are made, step by step: [Releases](../operations/releases.md).

"""


def page() -> str:
    """The whole page."""
    server = [_click_verb(path, command) for path, command in click_verbs(rm_commands)]
    agent = [_argparse_verb("rm-agent", name, verb, text) for name, verb, text in argparse_verbs(agent_parser())]
    release = [_argparse_verb("rm-release", name, verb, text) for name, verb, text in argparse_verbs(release_parser())]
    shared = "Before the verb, `--root DIR` keeps all files of the agent below that directory.\n\n"
    parts = [_INTRODUCTION, _SERVER, *server, _AGENT, shared, *agent, _RELEASE, *release]
    return "".join(parts).rstrip("\n") + "\n"


def click_verbs(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Each command below a group, with its words."""
    for name, command in sorted(group.commands.items()):
        words = f"{path} {name}".strip()
        if isinstance(command, click.Group):
            yield from click_verbs(command, words)
        else:
            yield words, command


def argparse_verbs(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Each verb of a parser with its own parser and what its list says of it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            said = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, verb in action.choices.items():
                yield name, verb, said[name]


def _click_verb(path: str, command: click.Command) -> str:
    rows, arguments = [], ""
    for one in command.params:
        if isinstance(one, click.Argument):
            arguments += f" {one.make_metavar(click.Context(command))}"
        elif isinstance(one, click.Option):
            choices = "|".join(one.type.choices) if isinstance(one.type, click.Choice) else one.type.name.upper()
            value = "" if one.is_flag else f" {choices}"
            default = f" Default: {one.default}." if one.show_default else ""
            rows.append((f"{one.opts[0]}{value}", _told(f"{one.help or ''}{default}", is_needed=one.required)))
    return _section(f"rm {path}{arguments}", (command.help or "").strip(), rows)


def _argparse_verb(program: str, name: str, verb: argparse.ArgumentParser, text: str) -> str:
    rows, arguments = [], ""
    for one in verb._actions:
        if isinstance(one, argparse._HelpAction):
            continue
        said = (one.help or "").replace("%(default)s", str(one.default))
        if not one.option_strings:
            arguments += f" [{one.dest}]" if one.nargs == "?" else f" {one.metavar or one.dest.upper()}"
            if said:
                rows.append((str(one.metavar or one.dest), _told(said, is_needed=False)))
            continue
        value = "" if one.nargs == 0 else f" {one.metavar or one.dest.upper()}"
        rows.append((f"{one.option_strings[-1]}{value}", _told(said, is_needed=one.required)))
    return _section(f"{program} {name}{arguments}", text, rows)


def _section(usage: str, text: str, rows: list[tuple[str, str]]) -> str:
    said = text[:1].upper() + text[1:]
    table = ""
    if rows:
        cells = "".join(f"| `{name.replace('|', chr(92) + '|')}` | {_cell(what)} |\n" for name, what in rows)
        table = f"\n| option | |\n|---|---|\n{cells}"
    return f"### `{usage.strip()}`\n\n{said.rstrip('.')}.\n{table}\n"


def _told(text: str, *, is_needed: bool) -> str:
    said = text if not text or text.endswith((".", ")")) else f"{text}."
    return f"{said} Must be given.".strip() if is_needed else said


def _cell(text: str) -> str:
    said = text[:1].upper() + text[1:]
    return said.replace("|", "\\|").replace("<", "&lt;")


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
