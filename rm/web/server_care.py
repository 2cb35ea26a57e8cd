"""Settings → Server: backups of the database, its key file, the disk, and how long history is kept."""

from collections.abc import Iterator
from pathlib import Path

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain import pruning as pruning_rules
from rm.domain.disk_space import Limits
from rm.domain.permissions import allows
from rm.domain.server_backups import Plan
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import disk_space, pruning, server_backups
from rm.web import context, server_care_view
from rm.web.layout import go, page

blueprint = Blueprint("server_care", __name__)

PATH = "/settings/server"
CHUNK = 256 * 1024


@blueprint.get(PATH)
@allows("server.care")
def show() -> Response:
    """All of it; while a backup is being made the list asks again by itself."""
    return _page()


@blueprint.post(f"{PATH}/backups")
@allows("server.care")
def back_up() -> AnyResponse:
    """Begin a backup now."""
    parts = runtime()
    server_backups.start(
        parts.bus, database_file=parts.settings.database_file, data_dir=parts.settings.data_dir,
        actor=context.actor(), clock=parts.clock, offload=parts.offload,
    )  # fmt: skip
    return go(PATH, "server_backup_started")


@blueprint.get(f"{PATH}/backups/<backup_id>")
@allows("server.care")
def download(backup_id: str) -> Response:
    """The file of one backup; that it was fetched is recorded."""
    found = server_backups.to_download(backup_id=backup_id, actor=context.actor(), now=context.now())
    file = Path(found.file)
    response = Response(_pieces(file), mimetype="application/vnd.sqlite3")
    response.headers["Content-Length"] = str(file.stat().st_size)
    response.headers["Content-Disposition"] = f'attachment; filename="{file.name}"'
    return response


@blueprint.post(f"{PATH}/backup-plan")
@allows("server.care")
def save_plan() -> AnyResponse:
    """How often, how many, where."""
    typed = {name: request.form.get(name, "").strip() for name in ("every_hours", "keep", "directory")}
    wanted = Plan(_whole(typed["every_hours"]), _whole(typed["keep"]), typed["directory"])
    parts = runtime()
    try:
        server_backups.save_plan(
            parts.bus, wanted=wanted, data_dir=parts.settings.data_dir, actor=context.actor(), now=context.now()
        )
    except Invalid as error:
        return _page("plan", typed, error.fields)
    return go(PATH, "settings_saved")


@blueprint.post(f"{PATH}/disk-limits")
@allows("server.care")
def save_disk_limits() -> AnyResponse:
    """Below which free space what is left off."""
    typed = {name: request.form.get(name, "").strip() for name in ("low_mib", "critical_mib")}
    parts = runtime()
    try:
        wanted = Limits(_whole(typed["low_mib"]), _whole(typed["critical_mib"]))
        disk_space.save_limits(parts.bus, wanted=wanted, actor=context.actor(), now=context.now())
    except Invalid as error:
        return _page("disk", typed, error.fields)
    disk_space.look(parts.bus, data_dir=parts.settings.data_dir, now=context.now())
    return go(PATH, "settings_saved")


@blueprint.post(f"{PATH}/history-limits")
@allows("server.care")
def save_history_limits() -> AnyResponse:
    """For how many days each kind of history is kept."""
    typed = {kind.name: request.form.get(kind.name, "").strip() for kind in pruning_rules.KINDS}
    wanted = {name: _whole(text) for name, text in typed.items()}
    try:
        pruning.save_limits(runtime().bus, wanted=wanted, actor=context.actor(), now=context.now())
    except Invalid as error:
        return _page("history", typed, error.fields)
    return go(PATH, "settings_saved")


def _page(form: str = "", typed: dict[str, str] | None = None, fields: dict[str, str] | None = None) -> Response:
    values = server_care_view.values(runtime(), now=context.now())
    if typed is not None:
        values["texts"] |= {form: typed}
    return page(
        "settings/server.html", status=422 if fields else 200, section="settings",
        wrong={"plan": {}, "disk": {}, "history": {}} | ({form: fields} if fields else {}), **values,
    )  # fmt: skip


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as data:
        while piece := data.read(CHUNK):
            yield piece


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else -1
