"""Files that every page needs, each at one short address that changes with its content."""

import hashlib
from functools import lru_cache
from pathlib import Path

from flask import Blueprint, Flask, Response, current_app

from rm.domain.permissions import PUBLIC, allows

COMPONENTS = (
    "browser", "button", "card", "command", "dialog", "empty", "flash", "form", "growth", "incident", "log", "menu",
    "nav", "page", "progress", "qr", "readout", "status", "stepper", "strip", "table", "tabs", "timeline", "verdict",
    "version",
)  # fmt: skip
# In the order in which they count.
STYLESHEETS = ("reset", "tokens", "base", *(f"components/{name}" for name in COMPONENTS), "utilities")

blueprint = Blueprint("assets", __name__)


def register(app: Flask) -> None:
    """Tell the templates where the icons are; the address is short because a page names it a hundred times."""
    app.jinja_env.globals["icons"] = f"/i.svg?{hashlib.sha256(_icons(app).read_bytes()).hexdigest()[:4]}"


@blueprint.get("/style.css")
@allows(PUBLIC)
def stylesheet() -> Response:
    """Every rule of every page: one request for them, not thirty."""
    return Response(_stylesheet()[0], mimetype="text/css")


@blueprint.get("/i.svg")
@allows(PUBLIC)
def icons() -> Response:
    """Every icon, as a symbol with its name as the id."""
    return Response(_icons(current_app).read_bytes(), mimetype="image/svg+xml")


def stylesheet_version() -> str:
    """The start of the content's sha256, which belongs into the address."""
    return _stylesheet()[1]


def _icons(app: Flask) -> Path:
    return Path(app.static_folder or "") / "icons.svg"


def _stylesheet() -> tuple[bytes, str]:
    paths = [Path(current_app.static_folder or "") / "css" / f"{name}.css" for name in STYLESHEETS]
    # whoever edits a file sees it at the next request
    return _joined(tuple((str(path), path.stat().st_mtime_ns) for path in paths))


@lru_cache(maxsize=2)
def _joined(files: tuple[tuple[str, int], ...]) -> tuple[bytes, str]:
    content = b"\n".join(Path(name).read_bytes() for name, _ in files)
    return content, hashlib.sha256(content).hexdigest()[:12]
