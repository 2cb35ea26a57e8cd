"""`rm-agent selftest`: everything is imported, the configuration parses, state opens, restic and server answer."""

import sqlite3
from dataclasses import asdict
from typing import Any

from agent import config as configuration
from agent import release_info
from agent.config import Paths
from agent.errors import ConfigurationError
from agent.http import Transport, Unreachable
from agent.secrets import SecretsFile
from agent.tool import ToolFinder


def examine(paths: Paths) -> dict[str, Any]:
    """What works; nothing on the disk is changed."""
    checks: dict[str, str] = {"imports": "ok"}
    config = None
    try:
        config = configuration.load(paths)
        checks["config"] = "ok"
    except ConfigurationError as error:
        checks["config"] = "none" if not paths.config_file.exists() else str(error)
    try:
        SecretsFile(paths).load()
        checks["secrets"] = "ok"
    except ConfigurationError as error:
        checks["secrets"] = "none" if not paths.secrets_file.exists() else str(error)
    checks["state"] = _state(paths)
    if config:
        tool = ToolFinder(paths, config).find()
        checks["restic"] = tool.problem or "ok"
        try:
            Transport(config).request("GET", "/healthz", timeout_seconds=10)
            checks["server"] = "ok"
        except (Unreachable, ConfigurationError) as error:
            checks["server"] = str(error)
    is_ok = all(checks.get(name, "ok") in ("ok", "none") for name in ("imports", "config", "secrets", "state"))
    return {"ok": is_ok, "release": asdict(release_info.read()), "checks": checks}


def _state(paths: Paths) -> str:
    if not paths.outbox_file.exists():
        return "none"
    try:
        db = sqlite3.connect(f"{paths.outbox_file.absolute().as_uri()}?mode=ro", uri=True)
        try:
            db.execute("SELECT count(*) FROM report").fetchone()
        finally:
            db.close()
    except sqlite3.Error as error:
        return f"the outbox cannot be read: {error}"
    return "ok"
