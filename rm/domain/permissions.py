"""Who may do what: every permission with the least role that has it."""

from collections.abc import Callable
from typing import Any, TypeVar

View = TypeVar("View", bound=Callable[..., Any])

ROLES = ("viewer", "operator", "admin")

PUBLIC = "public"
"""For everyone, signed in or not."""

AGENT = "agent"
"""For agents, which prove themselves with a token or a credential in the view itself."""

PERMISSIONS = {
    "fleet.view": "viewer",
    "account.view": "viewer",
    "jobs.run": "operator",
    "jobs.cancel": "operator",
    "hosts.add": "operator",
    "hosts.edit": "operator",
    "sources.edit": "operator",
    "schedules.edit": "operator",
    "snapshots.browse": "operator",
    "restores.run": "operator",
    "templates.apply": "operator",
    "repositories.test": "operator",
    "audit.view": "operator",
    "alerts.handle": "operator",
    "updates.run": "operator",
    "hosts.approve": "admin",
    "hosts.reenrol": "admin",
    "hosts.renew": "admin",
    "hosts.remove": "admin",
    "hosts.revoke": "admin",
    "repositories.edit": "admin",
    "releases.promote": "admin",
    "hosts.hold": "admin",
    "hooks.edit": "admin",
    "maintenance.edit": "admin",
    "restores.in_place": "admin",
    "templates.edit": "admin",
    "updates.force": "admin",
    "fleet_updates.manage": "admin",
    "settings.view": "admin",
    "settings.edit": "admin",
    "users.manage": "admin",
    "channels.manage": "admin",
    "server.care": "admin",
    "account.edit": "viewer",
    "tokens.own": "viewer",
}


def is_allowed(role: str | None, permission: str) -> bool:
    """Whether a role (None: nobody signed in) has a permission; raises KeyError for a permission that is not listed."""
    if permission in (PUBLIC, AGENT):
        return True
    least = PERMISSIONS[permission]
    return role in ROLES and ROLES.index(role) >= ROLES.index(least)


def allows(permission: str) -> Callable[[View], View]:
    """Declare what a view needs; a view that declares nothing is refused to everybody."""
    if permission not in (PUBLIC, AGENT):
        PERMISSIONS[permission]

    def mark(view: View) -> View:
        view.__dict__["__rm_permission__"] = permission
        return view

    return mark


def declared(view: object) -> str | None:
    """What a view was declared to need, or None."""
    return getattr(view, "__rm_permission__", None)
