"""Settings → Server and Settings → General."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rm.notifiers import outgoing
from rm.notifiers.outgoing import Answer, CallFailed
from rm.services import base_url_check, disk_space, general_settings, pruning, server_backups
from rm.services.general_settings import RETENTIONS
from rm.store import kept_settings, verdicts
from rm.store.database import changes
from rm.store.models import AuditEntry, ServerBackup, Session
from rm.web import retention_form, server_care_view
from tests import cast
from tests.web.conftest import Browser

PAGE, GENERAL = "/settings/server", "/settings/general"


@pytest.fixture(autouse=True)
def fresh(monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(server_care_view, "_counted", None)
    disk_space.forget()
    yield
    disk_space.forget()


@pytest.fixture
def made(bus, parts, settings) -> ServerBackup:
    return server_backups.run(
        bus, database_file=settings.database_file, data_dir=settings.data_dir, actor=None, clock=parts.clock,
        offload=parts.offload,
    )  # fmt: skip


def changed() -> AuditEntry:
    return AuditEntry.select().where(AuditEntry.action == "settings.changed").order_by(AuditEntry.id.desc()).get()


def test_the_page_shows_backups_the_key_file_the_room_and_the_limits(alice: Browser, made, settings) -> None:
    page = alice.get(PAGE)

    assert "Verified" in page.text("#backups")
    assert Path(made.file).name in page.text("#backups")
    assert str(settings.secret_key_file) in page.text("#key")
    assert "Not in the backups" in page.text("#key")
    assert "KiB" in page.text("#disk")
    assert page.find("#job_logs")["value"] == "90"
    assert "never removed" in page.text("#audit-size")


def test_without_a_backup_the_page_says_when_the_first_one_comes(alice: Browser) -> None:
    assert "No backup yet" in alice.get(PAGE).text("#backups")


def test_the_button_begins_a_backup_that_is_then_listed(alice: Browser) -> None:
    answer = alice.post(f"{PAGE}/backups")

    assert answer.status == 303
    for thread in threading.enumerate():
        if thread.name == "server-backup":
            thread.join(60)
    assert "alice" in alice.get(PAGE).text("#backups")
    assert AuditEntry.get(AuditEntry.action == "server_backup.made").actor_name == "alice"


def test_while_one_is_being_made_the_list_asks_again_by_itself(alice: Browser) -> None:
    ServerBackup.create(id="b", file="/srv/x.db", started_at=cast.NOW)

    backups = alice.get(PAGE).find("#backups")

    assert backups["hx-trigger"] == "every 2s"
    assert "Being made" in backups.get_text()


def test_a_backup_is_downloaded_whole_and_that_is_recorded(alice: Browser, made) -> None:
    answer = alice.get(f"{PAGE}/backups/{made.id}").response

    assert answer.get_data() == Path(made.file).read_bytes()
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{Path(made.file).name}"'
    assert AuditEntry.get(AuditEntry.action == "server_backup.downloaded").actor_name == "alice"
    assert alice.get(f"{PAGE}/backups/../../secret.key").status == 404
    assert alice.get(f"{PAGE}/backups/x").status == 404


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}/backups/x"])
def test_only_administrators_take_care_of_the_server(bob: Browser, charlie: Browser, stranger: Browser, path) -> None:
    assert (bob.get(path).status, charlie.get(path).status) == (403, 403)
    assert stranger.get(path).status == 303
    assert bob.post(f"{PAGE}/backups").status == 403


def test_a_plan_is_saved_with_before_and_after_and_its_problems_are_beside_the_fields(alice: Browser) -> None:
    wrong = alice.post(f"{PAGE}/backup-plan", {"every_hours": "0", "keep": "x", "directory": "backups"})
    assert wrong.status == 422
    for field in ("every_hours", "keep", "directory"):
        assert wrong.has(f"#{field}-error"), field
    assert wrong.find("#directory")["value"] == "backups"

    assert alice.post(f"{PAGE}/backup-plan", {"every_hours": "6", "keep": "3", "directory": ""}).status == 303
    assert server_backups.plan().every_hours == 6
    assert changed().payload["before"]["every_hours"] == 24


def test_disk_limits_have_effect_at_once(alice: Browser) -> None:
    wrong = alice.post(f"{PAGE}/disk-limits", {"low_mib": "10", "critical_mib": "20"})
    assert (wrong.status, wrong.has("#critical_mib-error")) == (422, True)

    assert alice.post(f"{PAGE}/disk-limits", {"low_mib": str(10 * 2**20), "critical_mib": "1"}).status == 303
    page = alice.get(PAGE)
    assert "Log lines of jobs are not kept just now" in page.text("#main")
    assert "disk low" in page.text("#lamps")


def test_history_limits_are_saved_and_checked(alice: Browser) -> None:
    limits = {name: str(days) for name, days in pruning.limits().items()}

    wrong = alice.post(f"{PAGE}/history-limits", limits | {"jobs": "5"})
    assert (wrong.status, wrong.has("#jobs-error")) == (422, True)
    assert alice.post(f"{PAGE}/history-limits", limits | {"job_logs": "30"}).status == 303
    assert pruning.limits()["job_logs"] == 30


def test_a_restored_server_says_so(alice: Browser) -> None:
    at = "2026-11-23T11:00:00.000000Z"
    with changes():
        kept_settings.put("server.restored", {"at": at, "taken_at": at, "file": "x.db", "is_settled": True})

    assert "was restored" in alice.get(PAGE).text("#main")


# ---- general ----


def save(alice: Browser, **texts: str):
    return alice.post(
        GENERAL,
        {"instance_name": "", "session_hours": "12", "group_mode": "always_on", "retention": "standard",
         "schedule_at": "03:15", "late_factor": "1.5", "intermittent_days": "7"} | texts,
    )  # fmt: skip


def test_the_servers_name_is_shown_in_the_header_and_in_titles(alice: Browser) -> None:
    assert save(alice, instance_name="Backups <b>Haifa</b>").status == 303

    page = alice.get("/")
    assert page.text(".nav__brand") == "Backups <b>Haifa</b>"
    assert page.text("title").endswith("· Backups <b>Haifa</b>")
    assert changed().payload == {"before": {"instance_name": ""}, "after": {"instance_name": "Backups <b>Haifa</b>"}}
    assert general_settings.current().shown_name == "Backups <b>Haifa</b>"


def test_problems_are_beside_the_fields_and_nothing_is_saved(alice: Browser) -> None:
    page = save(
        alice, instance_name="x" * 61, session_hours="0", group_mode="never", retention="x", schedule_at="25:00",
        late_factor="nan", intermittent_days="0",
    )  # fmt: skip

    assert page.status == 422
    for field in general_settings.General.__dataclass_fields__:
        assert page.has(f"#{field}-error"), field
    assert not AuditEntry.select().where(AuditEntry.action == "settings.changed").exists()


def test_new_groups_and_schedules_begin_with_what_is_set(alice: Browser, bus, vault, web1) -> None:
    cast.give_repository(bus, vault, web1)
    save(alice, group_mode="intermittent", retention="long", schedule_at="22:40")

    group = alice.get(f"/hosts/{web1.id}/sources/new")
    assert group.find("[name=mode][checked], [name=mode] [selected]")["value"] == "intermittent"
    assert group.find("[name=retention_choice][checked]")["value"] == "long"
    assert alice.get(f"/hosts/{web1.id}/schedules/new").find("[name=at]")["value"] == "22:40"


def test_a_sign_in_lasts_as_long_as_is_set(alice: Browser, stranger: Browser) -> None:
    save(alice, session_hours="3")

    answer = stranger.post("/login", {"username": "bob", "password": cast.PASSWORD})

    session = Session.get(Session.user == "bob")
    assert (session.expires_at - session.created_at).total_seconds() == 3 * 3600
    assert "Max-Age=10800" in str(answer.response.headers)


def test_when_a_backup_is_late_is_set_and_audited_and_every_host_judged_anew(alice: Browser) -> None:
    assert alice.get(GENERAL).find("[name=late_factor]")["value"] == "1.5"

    assert save(alice, late_factor="2.25", intermittent_days="14").status == 303

    assert alice.get(GENERAL).find("[name=late_factor]")["value"] == "2.25"
    assert changed().payload == {
        "before": {"late_factor": 1.5, "intermittent_days": 7}, "after": {"late_factor": 2.25, "intermittent_days": 14},
    }  # fmt: skip
    assert verdicts.anew_after() == ""


def test_the_retentions_are_those_of_the_forms() -> None:
    assert tuple(preset.key for preset in retention_form.PRESETS) == RETENTIONS


def test_only_administrators_see_and_change_general_settings(bob: Browser, charlie: Browser) -> None:
    assert (bob.get(GENERAL).status, charlie.get(GENERAL).status, save(bob).status) == (403, 403, 403)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (None, "ok", "leads to this server"),
        (Answer(200, b'{"status": "ok"}'), "failed", "not this server"),
        (Answer(200, b"<html>"), "failed", "not this server"),
        (Answer(200, b"[]"), "failed", "not this server"),
        (Answer(301, b"", {"location": "https://x"}), "warning", "redirect"),
        (CallFailed("the connection was refused"), "failed", "the connection was refused"),
    ],
    ids=["itself", "another one", "a page", "a list", "a redirect", "nobody"],
)
def test_the_base_url_is_checked_by_asking_oneself(alice: Browser, client, monkeypatch, answer, kind, words) -> None:
    def call(method: str, url: str, **_) -> Answer:
        if isinstance(answer, CallFailed):
            raise answer
        found = client.get(url.removeprefix("http://localhost"))
        return answer or Answer(found.status_code, found.get_data())

    monkeypatch.setattr(outgoing, "call", call)
    page = alice.post(f"{GENERAL}/check-base-url")

    assert words in page.text("#finding")
    assert page.has(f".flash--{kind}")
    assert base_url_check._asked == set()


def test_a_nonce_that_nobody_asks_about_is_not_known(client) -> None:
    assert "nonce" not in json.loads(client.get("/healthz?nonce=x").get_data())
    assert "nonce" not in json.loads(client.get("/healthz?nonce=").get_data())
