"""What people type of a repository, and what is wrong with it."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from rm.errors import Invalid
from rm.store import repositories
from rm.store.models import Repository

BACKENDS = ("rest:", "s3:", "sftp:", "b2:", "azure:", "gs:", "swift:", "rclone:", "local:")


@dataclass(frozen=True)
class RepositoryForm:
    """What a person types; a blank password or secret keeps the stored one."""

    name: str
    location: str
    password: str = ""
    username: str = ""
    secret: str = ""


@dataclass(frozen=True)
class MaintenanceForm:
    """The credential that may delete; blank user and location forget it, a blank secret stays as it is."""

    username: str = ""
    secret: str = ""
    location: str = ""


def check(form: RepositoryForm, existing: Repository | None) -> None:
    """Raises Invalid for what restic, or a person, could not use; names each field."""
    wrong = {}
    name, location = form.name.strip(), form.location.strip()
    if not name or len(name) > 100 or not name.isprintable():
        wrong["name"] = "Use 1 to 100 printable characters."
    other = repositories.find_by_name(name)
    if other is not None and (existing is None or other.id != existing.id):
        wrong["name"] = "Another repository has this name already."
    problem = _location_problem(location)
    if problem:
        wrong["location"] = problem
    if existing is None and not form.password:
        wrong["password"] = "A repository needs a password. Keep a copy elsewhere: without it nothing can be restored."
    if len(form.password) > 1000 or "\n" in form.password or "\0" in form.password:
        wrong["password"] = "Use at most 1,000 characters on one line."
    if len(form.username) > 300 or not form.username.isprintable():
        wrong["username"] = "Use at most 300 printable characters."
    if len(form.secret) > 1000 or "\n" in form.secret or "\0" in form.secret:
        wrong["secret"] = "Use at most 1,000 characters on one line."
    if wrong:
        raise Invalid(wrong)


def _location_problem(location: str) -> str | None:
    if not location:
        return "Say where the repository is, for example rest:https://backup.example.net/web1 or /srv/backup."
    if len(location) > 2000 or not location.isprintable():
        return "Use at most 2,000 printable characters."
    if not location.startswith(("/", *BACKENDS)):
        return f"Start with / for a directory on the host, or with one of {' '.join(BACKENDS)}"
    if re.match(r"(rest|s3):", location):
        try:
            parts = urlsplit(location.split(":", 1)[1])
        except ValueError:
            return "This is not a URL that restic can read."
        if parts.password is not None or (location.startswith("rest:") and parts.username):
            return "Leave user and password out of the location; they have fields of their own and are kept sealed."
    if location.startswith("rest:") and not re.match(r"rest:https?://[^/]+", location):
        return "A REST server looks like rest:https://backup.example.net/web1."
    return None


def check_maintenance(form: MaintenanceForm) -> None:
    """Raises Invalid."""
    wrong = {}
    location = form.location.strip()
    problem = _location_problem(location) if location else None
    if problem:
        wrong["location"] = problem
    if len(form.username) > 300 or not form.username.isprintable():
        wrong["username"] = "Use at most 300 printable characters."
    if form.secret and not form.username.strip():
        wrong["username"] = "Say whose password or key this is."
    if len(form.secret) > 1000 or "\n" in form.secret or "\0" in form.secret:
        wrong["secret"] = "Use at most 1,000 characters on one line."
    if wrong:
        raise Invalid(wrong)
