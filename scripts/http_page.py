"""Writes docs/reference/http.md from the server's own map of addresses; a test checks that the page is current."""

import logging
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flask import Flask

from rm.config import Settings
from rm.domain.permissions import AGENT, PERMISSIONS, PUBLIC, declared
from rm.factory import create_app

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "http.md"

_INTRODUCTION = """# HTTP

*Generated from the server's map of addresses by `make docs`; edit the views, not this page.*

Everything is on one port: pages, the API, the agents' door and what machines ask. *Who* is the least role that may; a
right in brackets is what the table in `rm/domain/permissions.py` calls it. **Everybody** needs no sign-in, **agents**
prove themselves with their token or credential.

What holds for all of them:

- A page that changes something takes a POST from this server's own pages; one from another site is refused with 403.
- Answers to people are pages, under `/api` they are JSON with [one shape of error](api.md#errors).
- Who is not signed in is sent to `/login` from pages, and gets 401 elsewhere. Who may not gets 403; what is not there,
  or not theirs to see, 404.
- 413 for a body that is too large, 429 and 503 with `Retry-After` when it is to be tried later.
- No secret is ever part of an address, but for the links with which an account is made or a password is chosen, which
  work once and leave the address bar as soon as they are opened.

"""
_ORDER = (
    ("What machines ask", ("healthz", "metrics")),
    ("Agents", ("agent", "ws", "install.sh")),
    ("Signing in", ("login", "logout", "setup", "choose-password")),
    ("Fleet and hosts", ("", "hosts", "pending-hosts")),
    ("Jobs", ("jobs",)),
    ("Repositories", ("repositories",)),
    ("Templates", ("templates",)),
    ("Alerts", ("alerts",)),
    ("Audit log", ("audit", "audit.csv")),
    ("Settings", ("settings",)),
    ("Live changes", ("live",)),
    ("The rest", ("static", "style.css", "i.svg", "patterns", "api")),
    ("The API", ("api/v1",)),
)
_NOTES = {
    "Live changes": "Server-sent events: fragments of the page that is open, as they change. A stream ends with its"
    " session.",
    "The API": "All of it with fields and answers is in `/api/v1/openapi.json` and on the server's page `/api`;"
    " [how to use it](api.md).",
}
_SAID = {
    "static": "Pictures, scripts and fonts of the pages.",
}


@dataclass(frozen=True, order=True)
class Route:
    """One address with one method."""

    path: str
    method: str
    who: str
    what: str

    @property
    def section(self) -> str:
        if self.path.startswith("/api/v1/"):
            return "api/v1"
        return self.path.split("/")[1]


def routes(app: Flask) -> Iterator[Route]:
    """Every address of the application with each of its methods."""
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        said = _SAID.get(rule.endpoint) or (view.__doc__ or "").strip().split("\n\n")[0]
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield Route(path, method, _who(declared(view)), " ".join(said.split()))


def application(directory: Path) -> Flask:
    """A server that serves nobody, in an empty directory."""
    return create_app(Settings(data_dir=directory, base_url="http://localhost").checked())


def page() -> str:
    """The whole page."""
    with tempfile.TemporaryDirectory() as name:
        found = sorted(set(routes(application(Path(name)))))
    parts = [_INTRODUCTION]
    for title, sections in _ORDER:
        parts.append(f"## {title}\n\n")
        if title in _NOTES:
            parts.append(f"{_NOTES[title]}\n\n")
        parts.append("| method | address | who | |\n|---|---|---|---|\n")
        parts += [_row(route) for route in found if route.section in sections]
        parts.append("\n")
    return "".join(parts).rstrip("\n") + "\n"


def _row(route: Route) -> str:
    what = route.what.replace("|", "\\|").replace("<", "&lt;")
    return f"| {route.method} | `{route.path}` | {route.who} | {what} |\n"


def _who(permission: str | None) -> str:
    if permission in (PUBLIC, None):
        return "everybody"
    if permission == AGENT:
        return "agents"
    return f"{PERMISSIONS[permission]} ({permission})"


def main() -> None:
    # its key file is thrown away: nobody has to keep a copy
    logging.getLogger("rm").setLevel(logging.ERROR)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
