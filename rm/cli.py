"""`flask --app app rm ...`: what an operator does on the server's own command line."""

import sys
from datetime import timedelta
from pathlib import Path

import click
from flask.cli import AppGroup

from rm import care_cli
from rm.domain.actors import SERVER
from rm.domain.permissions import ROLES
from rm.errors import Conflict, Invalid, RmError
from rm.runtime import runtime
from rm.services import api_tokens, enrolments, first_run, password_changes, releases, second_factor
from rm.store import database
from rm.store import releases as stored_releases
from rm.store.models import Release

rm_commands = AppGroup("rm", help="restic-manager's own commands.")
for _command in care_cli.COMMANDS:
    rm_commands.add_command(_command)


def _fail(error: RmError) -> None:
    details = [f"  {name}: {problem}" for name, problem in error.fields.items()] if isinstance(error, Invalid) else []
    click.echo("\n".join([error.message, *details, *([error.help] if error.help else [])]), err=True)
    sys.exit(1)


def _create_user(username: str, role: str) -> None:
    parts = runtime()
    password = sys.stdin.readline().rstrip("\n")
    try:
        with database.connection():
            user = first_run.create_user(
                parts.bus, username=username, password=password, role=role, now=parts.clock(), offload=parts.offload
            )
    except RmError as error:
        _fail(error)
    else:
        click.echo(f"created {user.role} {user.username}")


@rm_commands.command("create-admin")
@click.option("--username", required=True)
def create_admin(username: str) -> None:
    """Create an administrator; the password is read from standard input."""
    _create_user(username, "admin")


@rm_commands.command("create-user")
@click.option("--username", required=True)
@click.option("--role", required=True, type=click.Choice(ROLES))
def create_user(username: str, role: str) -> None:
    """Create a user; the password is read from standard input."""
    _create_user(username, role)


@rm_commands.command("set-password")
@click.option("--username", required=True)
def set_password(username: str) -> None:
    """Give a user another password, read from standard input, enable them, and end their sessions."""
    parts = runtime()
    password = sys.stdin.readline().rstrip("\n")
    try:
        with database.connection():
            user = password_changes.set_by_server(
                parts.bus, username=username, password=password, now=parts.clock(), offload=parts.offload
            )
    except RmError as error:
        _fail(error)
    else:
        asked = ", and a code of their second factor is asked for" if user.totp_confirmed_at else ""
        click.echo(f"{user.role} {user.username} can sign in with this password{asked}")


@rm_commands.command("reset-second-factor")
@click.option("--username", required=True)
def reset_second_factor(username: str) -> None:
    """Take away the second factor of a user who lost it, and end their sessions."""
    parts = runtime()
    try:
        with database.connection():
            user = password_changes.find_named(username)
            second_factor.reset(parts.bus, user_id=user.id, actor=SERVER, now=parts.clock())
    except RmError as error:
        _fail(error)
    else:
        click.echo(f"{user.username} signs in with the password alone now")


@rm_commands.command("create-token")
@click.option("--kind", required=True, type=click.Choice(["enrolment", "api"]))
@click.option("--tag", "tags", multiple=True, help="enrolment: hosts get it; api: only hosts with one.")
@click.option("--uses", default=1, show_default=True, help="enrolment: how many hosts.")
@click.option("--hours", default=1, show_default=True, help="enrolment: how long it lets hosts in.")
@click.option("--name", default="", help="api: what uses it.")
@click.option("--role", type=click.Choice(ROLES), help="api: what it may do.")
@click.option("--days", default=api_tokens.DEFAULT_DAYS, show_default=True, help="api: how long it is good.")
@click.option("--never-expires", is_flag=True, help="api: until it is revoked.")
def create_token(
    kind: str, tags: tuple[str, ...], uses: int, hours: int, name: str, role: str | None, days: int, never_expires: bool
) -> None:
    """Make a token that lets hosts in, or one that a program uses the API with, and print it, once."""
    parts, plain = runtime(), ""
    try:
        with database.connection():
            if kind == "api":
                _, plain = api_tokens.create(
                    parts.bus, name=name, role=role or "", tags=tags, days=None if never_expires else days,
                    actor=SERVER, now=parts.clock(),
                )  # fmt: skip
            else:
                _, plain = enrolments.mint_token(
                    parts.bus, actor=SERVER, now=parts.clock(), max_uses=uses, lifetime=timedelta(hours=hours),
                    tags=tags,
                )  # fmt: skip
    except RmError as error:
        _fail(error)
    else:
        click.echo(plain)


@rm_commands.group("release")
def release_commands() -> None:
    """Releases of the agent: import, promote, list."""


@release_commands.command("import")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--new-trust", is_flag=True, help="Trust another root key from now on; every host must be re-installed.")
@click.option("--promote", "is_promoting", is_flag=True, help="Make it the current release at once.")
def import_release(directory: Path, new_trust: bool, is_promoting: bool) -> None:
    """Check a signed release and keep it. Hosts are told of it only when it is promoted."""
    parts = runtime()
    try:
        with database.connection():
            done = releases.import_release(
                parts.bus, directory=directory, data_dir=parts.settings.data_dir, actor=SERVER, now=parts.clock(),
                new_trust=new_trust,
            )  # fmt: skip
            click.echo("\n".join(_said(done)))
            if is_promoting:
                releases.promote(parts.bus, release_id=done.release.id, actor=SERVER, now=parts.clock())
    except RmError as error:
        _fail(error)
    else:
        how = f"To make it current: rm release promote {done.release.id[:12]}"
        click.echo("It is the current release now." if is_promoting else how)


def _said(done: releases.Imported) -> list[str]:
    found = done.release
    said = [
        f"{'imported' if done.is_new else 'already here:'} release {found.version}, sequence {found.seq}, id {found.id}"
    ]
    names = " and ".join(key.name for key in done.root_keys)
    if done.is_first_trust:
        said.append(f"This server now trusts the root key {names}. Compare it with what `rm-release keys` printed.")
    elif done.is_trust_replaced:
        said.append(f"This server now trusts the root key {names}, and nothing that another one vouched for.")
        said.append(
            f"Every host must be re-installed ({done.hosts_to_reinstall} now): each trusts the root key it met."
        )
    return said


@release_commands.command("promote")
@click.argument("name", metavar="ID|VERSION")
@click.option("--force", is_flag=True, help="Although it is older than one that hosts were to run before.")
@click.option("--reason", default="", help="Why it is forced; kept in the audit log.")
def promote_release(name: str, force: bool, reason: str) -> None:
    """Make a release the one that hosts are to run."""
    parts = runtime()
    try:
        with database.connection():
            found = _one_release(name)
            releases.promote(
                parts.bus, release_id=found.id, actor=SERVER, now=parts.clock(), force=force, reason=reason
            )
    except RmError as error:
        _fail(error)
    else:
        click.echo(f"release {found.version}, sequence {found.seq}, is the current one")


def _one_release(name: str) -> Release:
    found = stored_releases.list_named(name)
    if len(found) > 1:
        which = "; ".join(f"{one.id[:12]} is sequence {one.seq}" for one in found)
        raise Conflict(f"{name} names {len(found)} releases: {which}. Say which by its id.")
    return found[0] if found else stored_releases.get(name)


@release_commands.command("list")
def list_releases() -> None:
    """What was imported, the highest sequence first."""
    with database.connection():
        for found in stored_releases.list_all():
            state = (
                f"withdrawn ({found.withdrawn_why})" if found.withdrawn_at else "current" if found.is_current else ""
            )
            expires = f"{found.expires_at:%Y-%m-%d}"
            click.echo(f"{found.id[:12]}  {found.seq:>6}  {found.version:<16}  {expires}  {state}".rstrip())
