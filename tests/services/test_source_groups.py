"""What a host backs up, and how: source groups."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from rm.errors import Forbidden, Invalid, NotFound
from rm.services import jobs, schedule_sets, schedules, source_groups
from rm.services.schedules import ScheduleForm
from rm.services.source_group_forms import SourceGroupForm, form_of, from_texts
from rm.shared.ids import new_ulid
from rm.store.models import AuditEntry, GroupVerdict, Host, Job, Schedule, Snapshot, SourceGroup
from rm.store.vault import UnsealError
from tests import cast
from tests.cast import ALICE, BOB, NOW

FORM = SourceGroupForm(name="files", includes=["/srv"])
SHELL = "systemctl stop the-secret-database"


@pytest.fixture
def save(bus, vault, web1):
    """save(form) → the group of web1; by bob unless told otherwise."""

    def save(form=FORM, *, group_id=None, actor=BOB, host=web1):
        return source_groups.save(bus, vault, host_id=host.id, group_id=group_id, form=form, actor=actor, now=NOW)

    return save


def version(host):
    return cast.host_row(host).schedule_version


def test_a_source_group_is_made_and_changed(save):
    made = save()
    changed = save(replace(FORM, includes=["/srv", "/etc", "/srv"], excludes=["*.tmp", ""]), group_id=made.id)

    assert (changed.id, changed.includes, changed.excludes) == (made.id, ["/srv", "/etc"], ["*.tmp"])


def test_every_field_is_kept(save):
    form = SourceGroupForm(
        name="home", includes=["/home"], excludes=["*.iso"], one_file_system=True, exclude_caches=True,
        tags=["laptop", "daily"], mode="intermittent", stale_after_hours=200,
        retention={"keep_daily": 7, "keep_within": "30d"}, retries=5, retry_minutes=3, upload_kib=512,
        download_kib=1024, pre_hook="", post_hook="", hook_seconds=600,
    )  # fmt: skip

    assert form_of(save(form)) == form


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("name", {"name": ""}),
        ("name", {"name": "a,b"}),
        ("name", {"name": "x" * 101}),
        ("includes", {"includes": []}),
        ("includes", {"includes": ["relative"]}),
        ("includes", {"includes": ["/" + "x" * 5000]}),
        ("excludes", {"excludes": ["x"] + [f"{n}" for n in range(600)]}),
        ("tags", {"tags": ["a,b"]}),
        ("tags", {"tags": [str(n) for n in range(17)]}),
        ("tags", {"tags": ["files"]}),
        ("mode", {"mode": "sometimes"}),
        ("stale_after_hours", {"stale_after_hours": 0}),
        ("retention", {"retention": {"keep_all": 3}}),
        ("retention", {"retention": {"keep_daily": -1}}),
        ("retention", {"retention": {"keep_daily": 0}}),
        ("retries", {"retries": 11}),
        ("retry_minutes", {"retry_minutes": 0}),
        ("upload_kib", {"upload_kib": -1}),
        ("download_kib", {"download_kib": 10**9}),
    ],
)
def test_a_source_group_that_says_nothing_useful_is_refused(save, field, changes):
    with pytest.raises(Invalid) as caught:
        save(replace(FORM, **changes))

    assert list(caught.value.fields) == [field]
    assert SourceGroup.select().count() == 0


def test_a_host_cannot_have_two_groups_of_one_name(save, db1):
    save()
    save(host=db1)

    with pytest.raises(Invalid):
        save()


def test_a_tag_that_is_another_groups_name_is_refused_both_ways(save):
    save(replace(FORM, tags=["mail"]))

    with pytest.raises(Invalid, match="another look") as as_name:
        save(replace(FORM, name="mail"))
    with pytest.raises(Invalid) as as_tag:
        save(replace(FORM, name="home", tags=["files"]))
    assert (list(as_name.value.fields), list(as_tag.value.fields)) == (["name"], ["tags"])


def test_another_hosts_group_cannot_be_changed_or_removed(bus, save, db1):
    made = save()

    with pytest.raises(NotFound):
        save(replace(FORM, name="stolen"), group_id=made.id, host=db1)
    with pytest.raises(NotFound):
        source_groups.remove(bus, host_id=db1.id, group_id=made.id, actor=BOB, now=NOW)


def test_a_host_has_at_most_fifty_groups(save):
    for number in range(50):
        save(replace(FORM, name=f"group {number}"))

    with pytest.raises(Invalid, match="another look") as caught:
        save(replace(FORM, name="one more"))
    assert "50" in caught.value.fields["name"]


def test_each_change_raises_the_wanted_version(save, web1):
    before = version(web1)
    made = save()
    save(replace(FORM, includes=["/etc"]), group_id=made.id)

    assert version(web1) == before + 2


def test_what_is_refused_raises_no_version(save, web1):
    before = version(web1)

    with pytest.raises(Invalid):
        save(replace(FORM, includes=[]))
    assert version(web1) == before


# ---- hooks ----


def has_hooks(host, *names, policy="local"):
    Host.update(hook_names=list(names), hooks_policy=policy).where(Host.id == host.id).execute()


def test_an_administrator_chooses_among_the_hooks_that_the_host_reports(save, web1):
    has_hooks(web1, "dump-database")

    group = save(replace(FORM, pre_hook="dump-database", hook_seconds=60), actor=ALICE)
    with pytest.raises(Invalid) as caught:
        save(replace(FORM, name="other", post_hook="rm"), actor=ALICE)

    assert (group.pre_hook, group.hook_seconds) == ("dump-database", 60)
    assert "hooks.d" in caught.value.fields["post_hook"]


def test_a_hook_that_vanished_from_the_host_may_stay_chosen(save, web1):
    has_hooks(web1, "dump-database")
    group = save(replace(FORM, pre_hook="dump-database"), actor=ALICE)
    has_hooks(web1)

    changed = save(replace(form_of(group), includes=["/etc"]), group_id=group.id, actor=ALICE)

    assert changed.pre_hook == "dump-database"


@pytest.mark.parametrize(
    "changes",
    [
        {"pre_hook": "dump"},
        {"post_hook": "dump"},
        {"hook_seconds": 5},
        {"pre_shell": SHELL},
        {"remove_post_shell": True},
    ],
)
def test_an_operator_may_not_touch_hooks(save, web1, changes):
    has_hooks(web1, "dump", policy="server")
    group = save(actor=ALICE)

    with pytest.raises(Forbidden):
        save(replace(FORM, **changes), group_id=group.id)
    with pytest.raises(Forbidden):
        save(replace(FORM, name="other", **changes))


def test_an_operator_changes_the_rest_of_a_group_with_hooks(save, vault, web1):
    has_hooks(web1, "dump", policy="server")
    group = save(replace(FORM, pre_hook="dump", post_shell=SHELL), actor=ALICE)

    changed = save(replace(form_of(group), includes=["/etc"]), group_id=group.id)
    again = save(replace(FORM, includes=["/var"]), group_id=group.id)

    assert (changed.includes, again.includes, again.pre_hook) == (["/etc"], ["/var"], "dump")
    assert schedule_sets.wanted(vault, host_id=web1.id).groups[0].post_shell == SHELL


def test_shell_text_is_taken_only_where_the_hosts_owner_allows_it(save, web1):
    with pytest.raises(Invalid) as caught:
        save(replace(FORM, pre_shell=SHELL), actor=ALICE)

    assert 'hooks = "server"' in caught.value.fields["pre_shell"]


def test_shell_text_is_sealed_and_named_nowhere(save, web1):
    has_hooks(web1, policy="server")

    group = save(replace(FORM, pre_shell=SHELL), actor=ALICE)

    assert SHELL.encode() not in bytes(group.pre_shell_sealed)
    assert all("secret-database" not in str(entry.payload) for entry in AuditEntry.select())
    assert AuditEntry.select().order_by(AuditEntry.id.desc()).first().payload["shell_changed"] is True


def test_an_empty_shell_text_keeps_the_stored_one_until_it_is_removed(save, vault, web1):
    has_hooks(web1, policy="server")
    group = save(replace(FORM, pre_shell=SHELL), actor=ALICE)

    save(FORM, group_id=group.id, actor=ALICE)
    kept = schedule_sets.wanted(vault, host_id=web1.id).groups[0].pre_shell
    save(replace(FORM, remove_pre_shell=True), group_id=group.id, actor=ALICE)

    assert kept == SHELL
    assert schedule_sets.wanted(vault, host_id=web1.id).groups[0].pre_shell == ""


def test_shell_text_opens_only_in_its_own_row_and_column(save, vault, web1):
    has_hooks(web1, policy="server")
    group = save(replace(FORM, pre_shell=SHELL), actor=ALICE)
    SourceGroup.update(post_shell_sealed=group.pre_shell_sealed).where(SourceGroup.id == group.id).execute()

    with pytest.raises(UnsealError):
        schedule_sets.wanted(vault, host_id=web1.id)


# ---- removing ----


def plan(bus, vault, host, name, *groups):
    form = ScheduleForm(name=name, cron="0 3 * * *", groups=[group.id for group in groups])
    return schedules.save(bus, vault, host_id=host.id, schedule_id=None, form=form, actor=BOB, now=NOW)


def test_a_schedule_that_ran_only_the_removed_group_is_switched_off_with_the_reason(bus, vault, save, web1):
    files, mail = save(), save(replace(FORM, name="mail"))
    alone, both = plan(bus, vault, web1, "alone", files), plan(bus, vault, web1, "both", files, mail)

    source_groups.remove(bus, host_id=web1.id, group_id=files.id, actor=BOB, now=NOW)

    assert not Schedule.get_by_id(alone.id).is_enabled
    assert Schedule.get_by_id(both.id).is_enabled
    [entry] = AuditEntry.select().where(AuditEntry.action == "schedule.disabled")
    assert "files" in entry.payload["reason"]


@pytest.mark.parametrize("is_removed", [False, True])
def test_a_backup_that_waits_under_a_name_that_is_gone_does_not_go_out_without_its_hooks(bus, vault, web1, is_removed):
    group_id = cast.give_repository(bus, vault, web1)
    SourceGroup.update(pre_hook="dump").where(SourceGroup.id == group_id).execute()
    group = SourceGroup.get_by_id(group_id)
    job = jobs.order(bus, host_id=web1.id, kind="backup", source_group_id=group_id, actor=ALICE, now=NOW)

    if is_removed:
        source_groups.remove(bus, host_id=web1.id, group_id=group_id, actor=ALICE, now=NOW)
    else:
        form = replace(form_of(group), name="renamed")
        source_groups.save(bus, vault, host_id=web1.id, group_id=group_id, form=form, actor=ALICE, now=NOW)

    assert Job.get_by_id(job.id).outcome == "cancelled"


def test_a_removed_group_leaves_no_verdict(bus, save, web1):
    group = save()
    GroupVerdict.insert(
        group=group.id, host=web1.id, code="ok", text="", since=NOW, changed_at=NOW
    ).on_conflict_replace().execute()

    source_groups.remove(bus, host_id=web1.id, group_id=group.id, actor=BOB, now=NOW)

    assert GroupVerdict.select().count() == 0


# ---- as typed ----


def test_what_is_typed_into_a_page_becomes_a_form():
    texts = {
        "name": "home", "includes": "/home\r\n/root", "excludes": "", "tags": "a, b", "exclude_caches": "on",
        "keep_daily": "7", "keep_within": "30d", "keep_last": "", "upload_kib": "512", "stale_after_hours": " ",
    }  # fmt: skip

    form = from_texts(texts, SourceGroupForm(pre_hook="dump"))

    assert (form.exclude_caches, form.one_file_system, form.upload_kib, form.pre_hook) == (True, False, 512, "dump")
    assert form.retention == {"keep_daily": 7, "keep_within": "30d"}
    assert form.stale_after_hours is None


def test_a_word_where_a_number_belongs_is_named():
    with pytest.raises(Invalid) as caught:
        from_texts({"keep_daily": "seven", "retries": "-1"}, SourceGroupForm())

    assert set(caught.value.fields) == {"keep_daily", "retries"}


def test_a_retention_by_which_most_snapshots_would_go_wants_the_name_typed(bus, vault, web1):
    group_id = cast.give_repository(bus, vault, web1)
    host = cast.host_row(web1)
    for day in range(1, 5):
        Snapshot.create(
            repository=host.repository_id, id=f"{day}" * 64, time=NOW - timedelta(days=day), hostname=host.hostname,
            tags=["files"], listing_id=new_ulid(),
        )  # fmt: skip
    form = replace(FORM, retention={"keep_last": 1})
    save = partial(source_groups.save, bus, vault, host_id=web1.id, group_id=group_id, form=form, actor=BOB, now=NOW)

    with pytest.raises(Invalid) as caught:
        save()
    assert "3 of 4" in caught.value.fields["typed_name"]
    assert save(typed_name="files").retention == {"keep_last": 1}
