"""What pages say about people: how they sign in, their second factor, their sessions."""

from dataclasses import dataclass

from rm.domain.permissions import ROLES
from rm.store.models import Session, User, UserLink
from rm.web import browser_words

ROLE_WORDS = {
    "viewer": ("Viewer", "Sees the fleet, jobs and alerts; changes nothing but their own account."),
    "operator": ("Operator", "Also runs and restores backups, adds hosts, edits what is backed up and handles alerts."),
    "admin": ("Administrator", "Also repositories, updates, hooks, settings, and the other users."),
}
ROLE_CHOICES = tuple((role, *ROLE_WORDS[role]) for role in ROLES)
METHOD_WORDS = {
    "password": "password", "totp": "password and code", "oidc": "sign-in provider", "setup": "setup link",
}  # fmt: skip


@dataclass(frozen=True)
class UserRow:
    """A person in the list."""

    user: User
    link: UserLink | None
    is_self: bool

    @property
    def role(self) -> str:
        return ROLE_WORDS[self.user.role][0]

    @property
    def state(self) -> tuple[str, str]:
        """An icon's kind and a word."""
        if not self.user.is_enabled:
            return "stop", "Disabled"
        if self.user.password_hash or self.user.oidc_subject:
            return "ok", "Enabled"
        return ("waiting", "Invited") if self.link else ("warning", "Cannot sign in")

    @property
    def ways_in(self) -> str:
        """How they sign in, in words."""
        ways = ["password"] if self.user.password_hash else []
        if self.user.oidc_subject:
            ways.append("provider")
        return " or ".join(ways) if ways else "not yet"

    @property
    def has_second_factor(self) -> bool:
        return self.user.totp_confirmed_at is not None


@dataclass(frozen=True)
class SessionRow:
    """One session of somebody."""

    session: Session
    is_present: bool

    @property
    def browser(self) -> str:
        return browser_words.said(self.session.user_agent)

    @property
    def method(self) -> str:
        return METHOD_WORDS.get(self.session.method, self.session.method)


def rows(users: list[User], links: dict[str, UserLink], *, own_id: str) -> list[UserRow]:
    return [UserRow(user=user, link=links.get(user.id), is_self=user.id == own_id) for user in users]


def session_rows(sessions: list[Session], *, present_hash: str) -> list[SessionRow]:
    """The sessions, the one that asks first."""
    found = [SessionRow(session=one, is_present=one.token_hash == present_hash) for one in sessions]
    return sorted(found, key=lambda row: not row.is_present)
