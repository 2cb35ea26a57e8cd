"""Choosing what to back up, how, and what is kept of it."""

from datetime import timedelta

import pytest

from rm.events import EventBus
from rm.store.models import Host, Repository, Snapshot, SnapshotListing, SourceGroup
from rm.store.vault import Vault
from tests import cast
from tests.cast import NOW, EnrolledHost
from tests.web.conftest import Browser

FORM = {"name": "etc", "includes": "/etc\r\n/root\r\n\r\n", "excludes": "*.tmp"}
WHOLE = FORM | {
    "one_file_system": "yes", "tags": "nightly\r\nlinux", "mode": "intermittent", "stale_after_hours": "48",
    "retention_choice": "own", "keep_daily": "7", "keep_within": "30d", "retries": "3", "retry_minutes": "5",
    "upload_kib": "1024", "download_kib": "",
}  # fmt: skip


def new_group(browser: Browser, host: EnrolledHost, form: dict[str, str] = FORM) -> SourceGroup:
    browser.post(f"/hosts/{host.id}/sources/new", form)
    return SourceGroup.get(SourceGroup.host == host.id)


def add_snapshots(host: EnrolledHost, count: int) -> None:
    """So many snapshots of the group etc, one a day."""
    repository_id = cast.host_row(host).repository_id
    for back in range(count):
        Snapshot.create(
            repository=repository_id, id=f"{back:02x}" * 32, time=NOW - timedelta(days=back), hostname=host.name,
            tags=["etc"], listing_id="1", data_added=1000,
        )  # fmt: skip
    SnapshotListing.create(repository=repository_id, listing_id="1", taken_at=NOW, host_id=host.id, total=count)


def test_a_group_is_made_changed_and_removed(bob: Browser, web1: EnrolledHost) -> None:
    bob.post(f"/hosts/{web1.id}/sources/new", FORM)
    group = SourceGroup.get()
    path = f"/hosts/{web1.id}/sources/{group.id}"
    form = bob.get(path)
    bob.post(path, FORM | {"name": "config"})
    changed = SourceGroup.get()
    bob.post(f"{path}/remove")

    assert group.includes == ["/etc", "/root"]
    assert form.find("#includes").get_text().strip() == "/etc\n/root"
    assert changed.name == "config"
    assert SourceGroup.select().count() == 0


def test_every_field_of_the_form_is_kept_and_shown_again(bob: Browser, web1: EnrolledHost) -> None:
    group = new_group(bob, web1, WHOLE)

    form = bob.get(f"/hosts/{web1.id}/sources/{group.id}")

    assert (group.one_file_system, group.exclude_caches) == (True, False)
    assert (group.tags, group.mode, group.stale_after_hours) == (["nightly", "linux"], "intermittent", 48)
    assert group.retention == {"keep_daily": 7, "keep_within": "30d"}
    assert (group.retries, group.retry_minutes, group.upload_kib, group.download_kib) == (3, 5, 1024, 0)
    assert form.find("#one_file_system").has_attr("checked")
    assert form.find("input[name=mode][checked]")["value"] == "intermittent"
    assert form.find("input[name=retention_choice][checked]")["value"] == "own"
    values = {name: form.find(f"#{name}")["value"] for name in ("stale_after_hours", "keep_daily", "keep_within")}
    assert values == {"stale_after_hours": "48", "keep_daily": "7", "keep_within": "30d"}


def test_what_is_set_stands_open_and_the_rest_of_what_is_rare_is_folded(bob: Browser, web1: EnrolledHost) -> None:
    group = new_group(bob, web1, WHOLE)

    form = bob.get(f"/hosts/{web1.id}/sources/{group.id}")

    folds = {
        fold.select_one(".disclosure").get_text(): fold.has_attr("open") for fold in form.soup.select("details.fold")
    }
    assert [title for title, is_open in folds.items() if is_open] == [
        "More tags", "A limit of its own", "By age", "Bandwidth",
    ]  # fmt: skip
    assert [title for title, is_open in folds.items() if not is_open] == ["Retries", "Hooks"]


def test_a_new_group_proposes_a_retention_and_says_in_words_what_it_keeps(bob: Browser, web1: EnrolledHost) -> None:
    form = bob.get(f"/hosts/{web1.id}/sources/new")

    assert form.find("input[name=retention_choice][checked]")["value"] == "standard"
    assert form.text("#retention-preview") == "Keeps 7 daily, 4 weekly and 12 monthly."


def test_a_preset_takes_the_place_of_what_stands_in_the_fields(bob: Browser, web1: EnrolledHost) -> None:
    chosen = new_group(bob, web1, WHOLE | {"retention_choice": "short"})

    assert chosen.retention == {"keep_last": 3, "keep_daily": 7}


def test_keeping_everything_is_a_choice(bob: Browser, web1: EnrolledHost) -> None:
    assert new_group(bob, web1, WHOLE | {"retention_choice": "everything"}).retention == {}


def test_the_words_of_a_retention_follow_what_is_typed(bob: Browser, web1: EnrolledHost) -> None:
    path = f"/hosts/{web1.id}/sources/new/preview"

    def said(query: str) -> str:
        return bob.get(f"{path}?{query}", headers={"HX-Request-Type": "partial"}).text("#retention-preview")

    assert said("retention_choice=own&keep_daily=3") == "Keeps 3 daily."
    assert said("retention_choice=own&keep_daily=") == "Keeps every snapshot."
    assert said("retention_choice=long&keep_daily=3").startswith("Keeps 14 daily, 8 weekly")
    assert "is a time such as 30d" in said("retention_choice=own&keep_within=soon")


def test_a_relative_path_is_refused_and_everything_typed_is_kept(bob: Browser, web1: EnrolledHost) -> None:
    answer = bob.post(f"/hosts/{web1.id}/sources/new", WHOLE | {"includes": "etc"})

    assert answer.status == 422
    assert "etc" in answer.text("#includes-error")
    assert answer.find("#includes").get_text().strip() == "etc"
    assert answer.find("#excludes").get_text().strip() == "*.tmp"
    assert answer.find("#keep_within")["value"] == "30d"
    assert answer.find("#one_file_system").has_attr("checked")


def test_all_that_is_wrong_is_said_at_once_each_beside_its_field(bob: Browser, web1: EnrolledHost) -> None:
    wrong = WHOLE | {"name": "", "retries": "eleven", "stale_after_hours": "9999", "keep_within": "soon"}

    answer = bob.post(f"/hosts/{web1.id}/sources/new", wrong)

    assert answer.status == 422
    for field in ("name", "retries", "stale_after_hours", "retention"):
        assert answer.text(f"#{field}-error")
    assert "4 fields below need another look" in answer.text()
    assert SourceGroup.select().count() == 0


def test_a_browser_without_scripts_can_look_at_what_is_kept_before_saving(bob: Browser, web1: EnrolledHost) -> None:
    answer = bob.post(f"/hosts/{web1.id}/sources/new", WHOLE | {"show": "retention", "name": ""})

    assert answer.status == 200
    assert answer.text("#retention-preview") == "Keeps 7 daily and everything of the last 30 days."
    assert SourceGroup.select().count() == 0


@pytest.fixture
def many(bus: EventBus, vault: Vault, bob: Browser, web1: EnrolledHost) -> SourceGroup:
    """A group that keeps everything, with ten snapshots."""
    cast.give_repository(bus, vault, web1)
    SourceGroup.delete().execute()
    Repository.update(restic_repository_id="ab" * 32).execute()
    group = new_group(bob, web1)
    add_snapshots(web1, 10)
    return group


def test_the_form_shows_what_would_stay_and_go(bob: Browser, web1: EnrolledHost, many: SourceGroup) -> None:
    form = bob.get(f"/hosts/{web1.id}/sources/{many.id}")
    typed = bob.get(
        f"/hosts/{web1.id}/sources/{many.id}/preview?retention_choice=own&keep_last=4",
        headers={"HX-Request-Type": "partial"},
    )

    assert "10 would stay and 0 would go" in form.text("#retention-preview")
    assert "4 would stay and 6 would go" in typed.text("#retention-preview")
    assert typed.has("#typed_name")


def test_when_more_than_half_would_go_the_name_is_asked_for(
    bob: Browser, web1: EnrolledHost, many: SourceGroup
) -> None:
    path, form = f"/hosts/{web1.id}/sources/{many.id}", FORM | {"retention_choice": "own", "keep_last": "4"}

    refused = bob.post(path, form)
    wrong = bob.post(path, form | {"typed_name": "etcetera"})
    kept = SourceGroup.get().retention
    saved = bob.post(path, form | {"typed_name": "etc"})

    assert (refused.status, wrong.status, kept) == (422, 422, {})
    assert "6 of 10 snapshots" in refused.text("#typed_name-error")
    assert wrong.find("#typed_name")["value"] == "etcetera"
    assert saved.status == 303
    assert SourceGroup.get().retention == {"keep_last": 4}


def test_a_new_group_that_takes_over_old_snapshots_asks_too(
    bob: Browser, web1: EnrolledHost, many: SourceGroup
) -> None:
    bob.post(f"/hosts/{web1.id}/sources/{many.id}/remove")
    form = FORM | {"retention_choice": "own", "keep_last": "1"}

    refused = bob.post(f"/hosts/{web1.id}/sources/new", form)
    saved = bob.post(f"/hosts/{web1.id}/sources/new", form | {"typed_name": "etc"})

    assert "9 of 10 snapshots" in refused.text("#typed_name-error")
    assert refused.has("#typed_name")
    assert saved.status == 303


# ---- hooks ----


def test_hooks_are_chosen_among_the_names_that_the_host_reported(alice: Browser, web1: EnrolledHost) -> None:
    Host.update(hook_names=["dump-db", "flush"]).execute()
    form = alice.get(f"/hosts/{web1.id}/sources/new")

    group = new_group(alice, web1, FORM | {"pre_hook": "dump-db", "post_hook": "", "hook_seconds": "60"})
    unknown = alice.post(f"/hosts/{web1.id}/sources/{group.id}", FORM | {"pre_hook": "rm-all", "hook_seconds": "60"})

    assert [one["value"] for one in form.soup.select("#pre_hook option")] == ["", "dump-db", "flush"]
    assert (group.pre_hook, group.hook_seconds) == ("dump-db", 60)
    assert "hooks.d" in unknown.text("#pre_hook-error")


def test_an_operator_sees_which_hooks_run_but_cannot_change_them(
    alice: Browser, bob: Browser, web1: EnrolledHost
) -> None:
    Host.update(hook_names=["dump-db"]).execute()
    group = new_group(alice, web1, FORM | {"pre_hook": "dump-db", "post_hook": "", "hook_seconds": "60"})
    path = f"/hosts/{web1.id}/sources/{group.id}"

    form = bob.get(path)
    saved = bob.post(path, FORM | {"name": "config"})
    refused = bob.post(path, FORM | {"pre_hook": ""})

    assert "dump-db" in form.text("#hooks-set")
    assert not form.has("#pre_hook")
    assert (saved.status, SourceGroup.get().name, SourceGroup.get().pre_hook) == (303, "config", "dump-db")
    assert refused.status == 403


def test_a_host_that_takes_no_shell_text_says_what_its_owner_must_do(alice: Browser, web1: EnrolledHost) -> None:
    form = alice.get(f"/hosts/{web1.id}/sources/new")
    refused = alice.post(f"/hosts/{web1.id}/sources/new", FORM | {"pre_shell": "pg_dump"})

    assert not form.has("#pre_shell")
    assert 'hooks = "server"' in form.text("#no-shell")
    assert 'hooks = "server"' in refused.text("#pre_shell-error")


def test_a_shell_text_is_kept_replaced_and_removed_but_never_shown(
    alice: Browser, bob: Browser, web1: EnrolledHost
) -> None:
    Host.update(hooks_policy="server").execute()
    hooks = FORM | {"pre_hook": "", "post_hook": "", "hook_seconds": "600"}
    group = new_group(alice, web1, hooks | {"pre_shell": "pg_dump --secret-word"})
    path = f"/hosts/{web1.id}/sources/{group.id}"

    for browser in (alice, bob):
        assert "secret-word" not in browser.get(path).text()
    alice.post(path, hooks | {"pre_shell": ""})
    untouched = SourceGroup.get().pre_shell_sealed
    assert "Set." in alice.get(path).text("#pre_shell-hint")
    assert "a shell text is set" in bob.get(path).text("#hooks-set")
    alice.post(path, hooks | {"pre_shell": "", "remove_pre_shell": "yes"})

    assert untouched == group.pre_shell_sealed
    assert SourceGroup.get().pre_shell_sealed is None


def test_what_an_administrator_typed_as_shell_text_is_not_lost_by_an_error(alice: Browser, web1: EnrolledHost) -> None:
    Host.update(hooks_policy="server").execute()

    answer = alice.post(f"/hosts/{web1.id}/sources/new", FORM | {"name": "", "pre_shell": "pg_dump"})

    assert answer.find("#pre_shell").get_text().strip() == "pg_dump"


# ---- denials ----


def test_another_hosts_group_is_not_found(bob: Browser, web1: EnrolledHost, db1: EnrolledHost) -> None:
    bob.post(f"/hosts/{web1.id}/sources/new", FORM)

    path = f"/hosts/{db1.id}/sources/{SourceGroup.get().id}"

    assert bob.get(path).status == 404
    assert bob.post(path, FORM).status == 404
    assert bob.post(f"{path}/remove").status == 404
    assert SourceGroup.select().count() == 1


def test_a_viewer_may_neither_see_the_form_nor_save_it(charlie: Browser, web1: EnrolledHost) -> None:
    path = f"/hosts/{web1.id}/sources/new"

    assert [charlie.get(path).status, charlie.get(f"{path}/preview").status] == [403, 403]
    assert charlie.post(path, FORM).status == 403
    assert SourceGroup.select().count() == 0
