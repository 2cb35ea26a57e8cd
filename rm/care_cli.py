"""`flask --app app rm backup|restore|export|check`: the care of the database, also when the server cannot start."""

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

from rm.config import Settings
from rm.domain.actors import SERVER
from rm.errors import NotReady, RmError
from rm.runtime import runtime, utc_now
from rm.services import server_backups, server_restore
from rm.services.server_restore import Restored
from rm.shared.words import counted
from rm.store import checking, exporting

WITHOUT_SERVER = ("restore", "export", "check")
"""They work on the files alone: what they are for may be the reason why the application cannot be made."""
SETTINGS = "RM_SETTINGS"

LEFT = """\
Before you start the server, know what a restore brings back:
  - everybody signs in again; open enrolment tokens and links were ended
  - users, API tokens and hosts that were disabled, revoked or removed since are back: look them up and end them again
  - hosts that were enrolled since are not known and are refused: enrol them again from the Fleet page
  - runs that were reported since are missing in the history; their snapshots are kept, and are listed anew
Connected agents come back by themselves and take what this database wants of them."""


def is_wanted(argv: Sequence[str]) -> bool:
    """Whether a command line asks for one of the commands that need no running application."""
    return any(name == "rm" and following in WITHOUT_SERVER for name, following in pairwise(argv))


def bare_app(settings: Settings) -> Flask:
    """An application that opens no database and only carries these commands."""
    app = Flask("rm")
    app.config[SETTINGS] = settings
    return app


@click.command("backup")
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file instead.")
@with_appcontext
def backup(to: Path | None) -> None:
    """Copy the database, also while the server runs, and verify the copy."""
    parts = runtime()
    try:
        done = server_backups.run(
            parts.bus, database_file=parts.settings.database_file, data_dir=parts.settings.data_dir, actor=SERVER,
            clock=parts.clock, offload=parts.offload, to=to,
        )  # fmt: skip
    except RmError as error:
        _fail(error.message)
    else:
        click.echo(f"{done.file}\n{done.size_bytes:,} bytes, sha256 {done.sha256}\n{done.message}")
        click.echo(f"The key file is not in it. Keep {parts.settings.secret_key_file} elsewhere.")


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@with_appcontext
def restore(file: Path) -> None:
    """Put a backup in the place of the database; stop the server first. The present database is kept aside."""
    settings = _settings()
    try:
        done = server_restore.restore(
            backup=file, data_dir=settings.data_dir, database_file=settings.database_file,
            key_file=_key_file(settings), now=utc_now(),
        )  # fmt: skip
    except NotReady as error:
        _fail(error.message)
    else:
        click.echo("\n".join(_said(done)))


@click.command("export")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@with_appcontext
def export(directory: Path) -> None:
    """Write everything but secrets as JSON lines, a file for each table, into a new directory."""
    settings = _settings()
    if not settings.database_file.is_file():
        _fail(f"There is no database {settings.database_file}.")
    try:
        counts = exporting.export(settings.database_file, directory, now=utc_now())
    except NotReady as error:
        _fail(error.message)
    except (OSError, exporting.DatabaseUnreadable) as error:
        _fail(f"The export could not be written: {error}")
    else:
        click.echo(f"{counted(sum(counts.values()), 'row')} of {counted(len(counts), 'table')} are in {directory}")


@click.command("check")
@with_appcontext
def check() -> None:
    """Look whether the database is whole and its key file opens all secrets; ends with 1 when something is wrong."""
    settings = _settings()
    trouble = checking.trouble(settings.database_file, _key_file(settings))
    if trouble:
        _fail("\n".join(trouble))
    click.echo(f"{settings.database_file} is whole, and the key file opens every secret in it.")


COMMANDS = (backup, restore, export, check)


def _said(done: Restored) -> list[str]:
    prepared = done.prepared
    said = [f"Restored: {counted(prepared.hosts, 'host')}, as of {prepared.taken_at:%Y-%m-%d %H:%M:%S} UTC."]
    if prepared.from_version != prepared.version:
        said.append(f"It was brought from database version {prepared.from_version} to {prepared.version}.")
    if prepared.jobs_to_ask:
        said.append(
            f"{counted(prepared.jobs_to_ask, 'job')} were open then: their hosts are asked what became of them."
        )
    if done.aside is not None:
        said.append(f"The database of before is {done.aside}. Remove it once all is well.")
    return [*said, LEFT]


def _settings() -> Settings:
    bare: Settings | None = current_app.config.get(SETTINGS)
    return bare if bare is not None else runtime().settings


def _key_file(settings: Settings) -> Path:
    return settings.secret_key_file or settings.data_dir / "secret.key"


def _fail(text: str) -> None:
    click.echo(text, err=True)
    sys.exit(1)
