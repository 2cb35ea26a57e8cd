"""`flask --app app rm ...`: what an operator does on the server's own command line."""

import sys
from datetime import timedelta

import click
from flask.cli import AppGroup

from rm.domain.actors import SERVER
from rm.domain.permissions import ROLES
from rm.errors import Invalid, RmError
from rm.runtime import runtime
from rm.services import accounts, enrolments
from rm.store import database

rm_commands = AppGroup("rm", help="restic-manager's own commands.")


def _fail(error: RmError) -> None:
    details = [f"  {name}: {problem}" for name, problem in error.fields.items()] if isinstance(error, Invalid) else []
    click.echo("\n".join([error.message, *details]), err=True)
    sys.exit(1)


def _create_user(username: str, role: str) -> None:
    parts = runtime()
    password = sys.stdin.readline().rstrip("\n")
    try:
        with database.connection():
            user = accounts.create_user(
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


@rm_commands.command("create-token")
@click.option("--kind", required=True, type=click.Choice(["enrolment"]))
@click.option("--uses", default=1, show_default=True)
@click.option("--hours", default=1, show_default=True)
@click.option("--tag", "tags", multiple=True)
def create_token(kind: str, uses: int, hours: int, tags: tuple[str, ...]) -> None:
    """Mint an enrolment token and print it, once."""
    parts = runtime()
    try:
        with database.connection():
            _, plain = enrolments.mint_token(
                parts.bus, actor=SERVER, now=parts.clock(), max_uses=uses, lifetime=timedelta(hours=hours), tags=tags
            )
    except RmError as error:
        _fail(error)
    else:
        click.echo(plain)
