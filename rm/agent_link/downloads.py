"""What hosts download: the agent of each release, and the signed texts that say what it is."""

import hashlib
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app, jsonify, request, send_file
from werkzeug import utils
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wsgi import FileWrapper

from rm.agent_link import bearer
from rm.domain.limits import DOWNLOAD_PER_ADDRESS
from rm.domain.permissions import AGENT, allows
from rm.errors import NotFound, Unauthorised
from rm.runtime import runtime
from rm.services import enrolments, presence
from rm.shared.release import Artifact
from rm.store import artifacts, pending_hosts, releases
from rm.store.models import Release

downloads = Blueprint("downloads", __name__)
log = logging.getLogger(__name__)

# The agent that came with the server, from the tree or in its image: what hosts get until a release is promoted.
_DIST = Path(__file__).parents[2] / "dist"
BUNDLED = (_DIST / "rm-agent", _DIST / "release" / "rm-agent")
BLOCK_BYTES = 64 * 1024
_JSON, _TEXT, _BYTES = "application/json", "text/plain; charset=utf-8", "application/octet-stream"


@downloads.get("/agent/release")
@allows(AGENT)
def release_manifest() -> Response:
    """The manifest of the current release, or of the one whose sha256 is asked for."""
    check_download()
    return _signed_text(bytes(_asked_release().manifest), _JSON)


@downloads.get("/agent/release.minisig")
@allows(AGENT)
def release_signature() -> Response:
    """The signature under that manifest."""
    check_download()
    return _signed_text(bytes(_asked_release().signature), _TEXT)


@downloads.get("/agent/keyset")
@allows(AGENT)
def keyset() -> Response:
    """The newest keyset: which keys may sign releases."""
    check_download()
    return _signed_text(bytes(_newest_keyset().bytes), _JSON)


@downloads.get("/agent/keyset.minisig")
@allows(AGENT)
def keyset_signature() -> Response:
    """The signature under the newest keyset."""
    check_download()
    return _signed_text(bytes(_newest_keyset().signature), _TEXT)


@downloads.get("/agent/artifact/<sha256>")
@allows(AGENT)
def artifact(sha256: str) -> Response:
    """The file with these bytes; it never changes, so whoever has it need not ask again."""
    is_public = check_download()
    found = releases.find_artifact(sha256)
    if found is None:
        raise NotFound("There is no artifact with this sha256.", code="no_artifact")
    response = _file(_kept(found), etag=sha256, name=found.name)
    if response.status_code < 400:
        scope = "public" if is_public else "private"
        response.headers["Cache-Control"] = f"{scope}, max-age=31536000, immutable"
    return response


@downloads.get("/agent/binary")
@allows(AGENT)
def binary() -> Response:
    """The current release's agent for a platform; until one is promoted, the agent that came with the server."""
    check_download()
    path, digest = _bundled() if not releases.was_any_promoted() else _current_artifact()
    wanted = request.args.get("sha256")
    if wanted is not None and wanted != digest:
        raise NotFound("There is no artifact with this sha256.", code="no_artifact")
    return _file(path, etag=digest, name="rm-agent")


def check_download() -> bool:
    """Let whoever holds a token or credential download, others slowly while announcing is on; raises Unauthorised.

    Gives whether anybody may.
    """
    parts = runtime()
    now = parts.clock()
    secret = bearer.secret()
    is_public = pending_hosts.is_announcing_enabled()
    if enrolments.opens_downloads(secret, now):
        return is_public
    try:
        presence.admit(credential=secret)
    except Unauthorised:
        parts.limits.take("download", request.remote_addr or "", DOWNLOAD_PER_ADDRESS, now)
        if not is_public:
            raise
    return is_public


def _asked_release() -> Release:
    sha256 = request.args.get("sha256")
    found = releases.current() if sha256 is None else releases.find(sha256)
    if found is None and sha256 is not None:
        raise NotFound("There is no release whose manifest has this sha256.", code="no_release")
    if found is None:
        raise _nothing_promoted()
    if found.withdrawn_at is not None:
        raise NotFound(f"Release {found.version} was withdrawn.", code="no_release")
    return found


def _newest_keyset() -> Any:
    found = releases.newest_keyset()
    if found is None:
        raise _nothing_promoted()
    return found


def _nothing_promoted() -> NotFound:
    return NotFound(
        "This server has no release to hand out.",
        code="no_release",
        help="On the server: flask --app app rm release import DIR --promote",
    )


def _current_artifact() -> tuple[Path, str]:
    found = releases.current()
    if found is None:
        raise _nothing_promoted()
    os, arch = request.args.get("os", ""), request.args.get("arch", "")
    wanted = releases.artifact_for(found, os, arch)
    if wanted is None:
        platforms = ", ".join(sorted(f"{one.os}/{one.arch}" for one in releases.artifacts_of(found)))
        raise NotFound(
            f"Release {found.version} has no agent for {os[:32] or '?'}/{arch[:32] or '?'}, only for {platforms}.",
            code="no_artifact",
        )
    return _kept(wanted), wanted.sha256


def _bundled() -> tuple[Path, str]:
    path = next((file for file in BUNDLED if file.is_file()), None)
    if path is None:
        raise NotFound(
            "This server holds no agent to hand out.", code="no_artifact", help="Run `make agent` on the server."
        )
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def _kept(wanted: Artifact) -> Path:
    data_dir = runtime().settings.data_dir
    path = artifacts.find(data_dir, wanted.sha256)
    size = path.stat().st_size if path is not None else None
    if path is None or size != wanted.size:
        # Said at once: a host that is handed too few bytes takes it for a bad line and tries again and again.
        state = "is missing" if size is None else f"has {size} bytes where its manifest says {wanted.size}"
        log.error("the artifact %s %s in %s", wanted.sha256, state, artifacts.directory(data_dir))
        raise NotFound(
            f"The file of this artifact {state} on the server.",
            code="no_artifact",
            help="Import the release again: flask --app app rm release import DIR",
        )
    return path


def _signed_text(data: bytes, mimetype: str) -> Response:
    return _sent(
        lambda: send_file(io.BytesIO(data), mimetype=mimetype, conditional=True, etag=hashlib.sha256(data).hexdigest())
    )


def _file(path: Path, *, etag: str, name: str) -> Response:
    # gunicorn's own way with files sends them in blocks of 8 KiB under gevent, which costs more than all the rest.
    environ = request.environ | {"wsgi.file_wrapper": lambda file, _: FileWrapper(file, BLOCK_BYTES)}
    return _sent(
        lambda: utils.send_file(
            path, environ, mimetype=_BYTES, download_name=name, conditional=True, etag=etag,
            response_class=current_app.response_class,
        )
    )  # fmt: skip


def _sent(send: Callable[[], Response]) -> Response:
    try:
        response = send()
    except RequestedRangeNotSatisfiable as error:
        # Answered here because the one place for errors drops the header that says how long the file is.
        problem = {"code": "bad_range", "message": "The file does not have these bytes.", "help": "Ask from byte 0."}
        response = jsonify(error=problem)
        response.status_code = 416
        response.headers["Content-Range"] = f"bytes */{error.length}"
    response.headers["Cache-Control"] = "no-cache"
    return response
