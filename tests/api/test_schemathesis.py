"""A machine that reads the OpenAPI document tries what it allows and what it forbids, against the real server."""

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from rm.config import Settings
from rm.domain.actors import SERVER
from rm.factory import create_app
from rm.runtime import runtime
from rm.services import alerts, api_tokens, hosts
from rm.shared.ids import new_ulid
from rm.store import database
from rm.store.models import Job, Schedule, Snapshot
from tests import cast
from tests.process.conftest import Server

ROOT = Path(__file__).parents[2]
SCHEMATHESIS = ROOT / ".venv-schemathesis" / "bin" / "schemathesis"
SECONDS = 60
EXAMPLES = 6

# What a stranger's words may not do on the machine of whoever runs the tests: make directories, call addresses.
LEFT_OUT = ("server_backups_save_plan", "channels_set_sign_of_life", "channels_create", "channels_ping_sign_of_life")
ENDING = ("hosts_remove", "hosts_revoke", "users_remove", "users_disable", "jobs_cancel", "source_groups_remove")
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "missing_required_header", "unsupported_method",
    "allow_header_conformance",
)  # fmt: skip
# Not asked: whether credentials are needed, for its wrong tokens are soon answered 429 (tests/web/test_permissions.py
# asks every route); and whether all that fits the document is taken, for names must be there and crons make sense.


def prepared(data_dir: Path) -> tuple[str, dict[str, str]]:
    """A database with one of each thing; an administrator's token, and the ids by the names of parameters."""
    now = datetime.now(timezone.utc)
    app = create_app(Settings(data_dir=data_dir, base_url="http://localhost").checked())
    parts = runtime(app)
    with database.connection():
        cast.add_people("")
        host = cast.add_host(parts.bus, "web1", now=now)
        hosts.set_tags(parts.bus, host_id=host.id, tags=("web",), actor=cast.ALICE, now=now)
        group_id = cast.give_repository(parts.bus, parts.vault, host, now=now)
        repository_id = cast.host_row(host).repository_id
        job = Job.create(
            id=new_ulid(), host=host.id, kind="backup", state="finished", outcome="succeeded", created_at=now,
            expires_at=now, source_group="files", started_at=now, finished_at=now,
        )  # fmt: skip
        schedule = Schedule.create(
            id=new_ulid(), host=host.id, name="nightly", cron="0 3 * * *", created_at=now, changed_at=now
        )
        Snapshot.create(
            repository=repository_id, id="ab" * 32, time=now, hostname="web1", username="root", paths=["/srv"],
            tags=[], listing_id="1",
        )  # fmt: skip
        alert = alerts.raise_alert(
            parts.bus, kind="certificate_or_key_problem", condition="x", message="x", now=now, host_id=host.id
        )
        _, token = api_tokens.create(
            parts.bus, name="schemathesis", role="admin", tags=(), days=1, actor=SERVER, now=now
        )
        assert alert is not None
    database.close_database()
    return token, {
        "host_id": host.id, "group_id": group_id, "repository_id": repository_id, "job_id": job.id,
        "schedule_id": schedule.id, "snapshot_id": "ab" * 32, "alert_id": alert.id, "kind": "check",
        "incident_id": str(alert.incident_id), "user_id": "charlie",
    }  # fmt: skip


@pytest.fixture(autouse=True)
def as_declared() -> None:
    """Nothing of this process is looked at here."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Server, str, Path]]:
    token, ids = prepared(tmp_path / "data")
    config = tmp_path / "schemathesis.toml"
    config.write_text(written(ids))
    running = Server(tmp_path / "data", RM_BASE_URL="http://localhost")
    running.wait_for_line("serving on")
    yield running, token, config
    running.stop()


def written(ids: dict[str, str]) -> str:
    """Real ids nearly always, so that what is sent meets real things; not where they would be gone after it."""
    lines = ["[generation]", "allow-x00 = true", f"max-examples = {EXAMPLES}", "deterministic = true"]
    lines += ["[phases.coverage]", "unexpected-methods = ['PATCH', 'TRACE']"]
    for name, value in ids.items():
        lines += [f"[dictionaries.{name}]", f"values = [{json.dumps(value)}]"]
    lines += ["[parameters]"]
    lines += [f'"path.{name}" = {{ dictionary = "{name}", probability = 0.9 }}' for name in ids]
    for name in ENDING:
        lines += ["[[operations]]", f'include-operation-id = "{name}"', "enabled = true"]
        lines += ['parameters = { "path.host_id" = "gone", "path.user_id" = "gone", "path.job_id" = "gone" }']
    return "\n".join(lines) + "\n"


@pytest.mark.skipif(not SCHEMATHESIS.exists(), reason="needs its environment: scripts/make-venv schemathesis")
def test_the_api_is_as_its_document_says(server: tuple[Server, str, Path], tmp_path: Path) -> None:
    running, token, config = server
    # One worker: CPython 3.11 loses count of its depth when two threads build syntax trees ("AST constructor recursion
    # depth mismatch"), and what generates the examples builds them.
    leave_out = [part for name in LEFT_OUT for part in ("--exclude-operation-id", name)]

    done = subprocess.run(
        [
            str(SCHEMATHESIS), "--config-file", str(config), "run", f"{running.url}/api/v1/openapi.json",
            "--header", f"Authorization: Bearer {token}", "--checks", ",".join(CHECKS), "--phases",
            "examples,coverage,fuzzing", "--workers", "1", "--max-time", str(SECONDS), "--continue-on-failure",
            "--request-timeout", "30", "--suppress-health-check", "all", "--no-color", *leave_out,
        ],
        cwd=tmp_path, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip

    assert done.returncode == 0, _failures(done.stdout) + done.stderr[-2000:]
    assert "Traceback" not in running.log


def _failures(said: str) -> str:
    """What went wrong: errors (a request that got no answer, say) come before failures, and either may be alone."""
    starts = [at for at in (said.find(" ERRORS "), said.find(" FAILURES ")) if at >= 0]
    return said[min(starts, default=0) :][:12_000]
