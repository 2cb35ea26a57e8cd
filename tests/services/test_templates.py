"""Templates: shared by many hosts, shown before they are applied, and seen when a host drifts from one."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rm.errors import Conflict, Invalid, NotFound
from rm.services import retention_changes, schedules, source_groups, templates
from rm.services import template_applying as applying
from rm.services.schedules import ScheduleForm
from rm.services.source_group_forms import SourceGroupForm, form_of
from rm.services.template_applying import Choice
from rm.services.template_forms import TemplateForm
from rm.shared.ids import new_ulid
from rm.store.database import db
from rm.store.models import AuditEntry, Host, HostTag, Schedule, Snapshot, SourceGroup, Template
from tests import cast
from tests.cast import ALICE, BOB, NOW

SYSTEM = SourceGroupForm(name="system", includes=["/etc", "/root"], retention={"keep_daily": 7}, tags=["base"])
NIGHTLY = ScheduleForm(name="nightly", cron="15 3 * * *", jitter_seconds=600, groups=["system"])
FORM = TemplateForm(name="Linux server", description="What every server has.", groups=[SYSTEM], schedules=[NIGHTLY])


@pytest.fixture
def save(bus):
    def save(form=FORM, *, template_id=None):
        return templates.save(bus, template_id=template_id, form=form, actor=ALICE, now=NOW)

    return save


@pytest.fixture
def apply(bus, vault):
    """apply(template, host, …) → what became of each host; by bob unless told otherwise."""

    def apply(template, *hosts, tags=(), version=None, actor=BOB):
        choice = Choice(tags=tags, host_ids=[host.id for host in hosts])
        return applying.apply(
            bus, vault, template_id=template.id, version=version or template.version, choice=choice, actor=actor,
            now=NOW,
        )  # fmt: skip

    return apply


def look(template, host_ids=(), actor=BOB, **more):
    return applying.preview(
        template_id=template.id, choice=Choice(host_ids=host_ids, **more), actor=actor, now=NOW
    )  # fmt: skip


def tagged(host, tag):
    HostTag.create(host=host.id, tag=tag)


def version(host):
    return cast.host_row(host).schedule_version


def rows(host):
    groups = SourceGroup.select().where(SourceGroup.host == host.id).order_by(SourceGroup.name)
    return list(groups), list(Schedule.select().where(Schedule.host == host.id).order_by(Schedule.name))


def change(bus, vault, host, group, **changes):
    form = replace(form_of(group), **changes)
    return source_groups.save(bus, vault, host_id=host.id, group_id=group.id, form=form, actor=ALICE, now=NOW)


def test_a_template_gives_each_host_with_the_tag_its_groups_and_schedules(apply, save, web1, db1):
    tagged(web1, "servers")
    template = save()

    results = apply(template, tags=["servers"])

    groups, planned = rows(web1)
    assert [(one.host_name, one.outcome) for one in results] == [("web1", "applied")]
    assert [(g.name, g.includes, g.retention, g.template_id) for g in groups] == [
        ("system", ["/etc", "/root"], {"keep_daily": 7}, template.id)
    ]
    assert [(s.name, s.cron, s.template_id) for s in planned] == [("nightly", "15 3 * * *", template.id)]
    assert rows(db1) == ([], [])


def test_applying_again_changes_nothing(apply, save, web1):
    template = save()
    apply(template, web1)
    before, audits = version(web1), AuditEntry.select().count()

    [again] = apply(template, web1)

    assert (again.outcome, version(web1), AuditEntry.select().count()) == ("unchanged", before, audits)


def test_each_host_is_sent_one_new_version_and_leaves_one_entry_of_its_own(apply, save, web1, db1):
    before = version(web1), version(db1)

    apply(save(), web1, db1)

    entries = AuditEntry.select().where(AuditEntry.action == "template.applied")
    assert (version(web1), version(db1)) == (before[0] + 1, before[1] + 1)
    assert sorted(entry.target_name for entry in entries) == ["db1", "web1"]


def test_the_preview_names_each_field_that_would_change_and_what_is_left_alone(bus, vault, apply, save, web1):
    template = save()
    apply(template, web1)
    change(bus, vault, web1, rows(web1)[0][0], includes=["/etc"], retries=5)
    other = replace(SYSTEM, name="own", tags=[])
    source_groups.save(bus, vault, host_id=web1.id, group_id=None, form=other, actor=BOB, now=NOW)

    [found] = look(template, [web1.id])

    [group, schedule] = found.differences.changes
    assert (group.name, group.what, schedule.name, schedule.what) == ("system", "changed", "nightly", "same")
    assert {(one.field, str(one.old), str(one.new)) for one in group.fields} == {
        ("includes", "['/etc']", "['/etc', '/root']"), ("retries", "5", "2"),
    }  # fmt: skip
    assert found.differences.beyond == (("group", "own"),)
    assert found.problem == ""


def test_a_preview_changes_nothing(save, web1):
    template = save()

    [found] = look(template, [web1.id])

    assert [one.what for one in found.differences.changes] == ["added", "added"]
    assert rows(web1) == ([], [])


def test_what_a_host_has_beyond_the_template_stays(bus, vault, apply, save, web1):
    cast.give_repository(bus, vault, web1)

    apply(save(), web1)

    assert [group.name for group in rows(web1)[0]] == ["files", "system"]


def test_shell_text_of_a_host_survives_a_template(bus, vault, apply, save, web1):
    template = save()
    apply(template, web1)
    Host.update(hooks_policy="server").where(Host.id == web1.id).execute()
    change(bus, vault, web1, rows(web1)[0][0], pre_shell="mount /srv", includes=["/etc"])

    apply(template, web1)

    group = rows(web1)[0][0]
    assert (group.includes, group.pre_shell_sealed is not None) == (["/etc", "/root"], True)


def test_a_host_without_the_hook_is_refused_alone_and_shown_before(bus, apply, save, web1, db1):
    Host.update(hook_names=["dump"]).where(Host.id == db1.id).execute()
    template = save(replace(FORM, groups=[replace(SYSTEM, pre_hook="dump")]))

    shown = {one.host.name: one.problem for one in look(template, [web1.id, db1.id], ALICE)}
    results = {one.host_name: one for one in apply(template, web1, db1, actor=ALICE)}

    assert "hooks.d" in shown["web1"] and shown["db1"] == ""
    assert (results["web1"].outcome, results["db1"].outcome) == ("refused", "applied")
    assert "hooks.d" in results["web1"].problem
    assert rows(web1) == ([], [])


def test_what_was_not_looked_at_is_not_applied(apply, save, web1):
    template = save()
    save(replace(FORM, groups=[replace(SYSTEM, includes=["/"])]), template_id=template.id)

    with pytest.raises(Conflict) as caught:
        apply(template, web1)
    assert caught.value.code == "template_changed"
    assert rows(web1) == ([], [])


def test_only_another_body_is_another_version(save):
    template = save()

    renamed = save(replace(FORM, name="Server"), template_id=template.id)
    changed = save(replace(FORM, schedules=[]), template_id=template.id)

    assert (renamed.version, changed.version) == (1, 2)


def test_a_host_that_was_changed_by_hand_drifts_in_named_fields(bus, vault, apply, save, web1):
    template = save()
    apply(template, web1)
    calm = templates.drift(web1.id)

    change(bus, vault, web1, rows(web1)[0][0], retries=5)

    [found] = templates.drift(web1.id)
    assert calm == []
    assert (found.kind, found.name) == ("group", "system")
    assert found.text == "It differs from the template Linux server in retries."
    assert [(host.name, drifts) for host, drifts in templates.drifting(template.id)] == [("web1", True)]


def test_a_host_drifts_when_its_template_moves_on(apply, save, web1):
    template = save()
    apply(template, web1)

    save(
        replace(FORM, groups=[replace(SYSTEM, includes=["/etc"]), replace(SYSTEM, name="logs", tags=[])], schedules=[]),
        template_id=template.id,
    )

    texts = {(one.kind, one.name): one.text for one in templates.drift(web1.id)}
    assert "Version 1 was applied; the template is at 2." in texts["group", "system"]
    assert "does not have it any more" in texts["schedule", "nightly"]
    assert "this host does not" in texts["group", "logs"]


def test_a_template_is_made_of_what_a_host_has_without_its_secrets(bus, vault, apply, save, web1, db1):
    apply(save(), web1)
    Host.update(hooks_policy="server").where(Host.id == web1.id).execute()
    change(bus, vault, web1, rows(web1)[0][0], pre_shell="the-secret")

    made = templates.save_from_host(bus, host_id=web1.id, name="Like web1", actor=ALICE, now=NOW)
    apply(made, db1)

    assert "the-secret" not in str(made.body)
    assert [(g.name, g.includes) for g in rows(db1)[0]] == [("system", ["/etc", "/root"])]
    assert [s.cron for s in rows(db1)[1]] == ["15 3 * * *"]


def test_a_template_that_is_removed_leaves_its_hosts_as_they_are(bus, apply, save, web1):
    template = save()
    apply(template, web1)

    templates.remove(bus, template_id=template.id, actor=ALICE, now=NOW)

    groups, planned = rows(web1)
    assert (groups[0].template_id, planned[0].template_id, templates.drift(web1.id)) == (None, None, [])


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("name", {"name": ""}),
        ("description", {"description": "x" * 2001}),
        ("groups", {"groups": [], "schedules": []}),
        ("groups", {"groups": [SYSTEM, SYSTEM]}),
        ("groups", {"groups": [replace(SYSTEM, includes=["etc"])]}),
        ("groups", {"groups": [replace(SYSTEM, pre_shell="rm -rf /")]}),
        ("groups", {"groups": [SYSTEM, replace(SYSTEM, name="base", tags=[])]}),
        ("schedules", {"schedules": [replace(NIGHTLY, cron="61 * * * *")]}),
        ("schedules", {"schedules": [replace(NIGHTLY, groups=["nothing"])]}),
        ("schedules", {"schedules": [NIGHTLY, NIGHTLY]}),
    ],
)
def test_a_template_that_no_host_could_take_is_refused(save, field, changes):
    with pytest.raises(Invalid) as caught:
        save(replace(FORM, **changes))

    assert list(caught.value.fields) == [field]
    assert Template.select().count() == 0


def test_two_templates_cannot_have_one_name_whatever_its_case(save):
    save()

    with pytest.raises(Invalid):
        save(replace(FORM, name="LINUX SERVER"))


def test_a_template_applies_to_chosen_hosts_only_and_never_to_revoked_ones(save, apply, web1, db1):
    Host.update(revoked_at=NOW).where(Host.id == db1.id).execute()
    template = save()

    with pytest.raises(Invalid):
        apply(template)
    with pytest.raises(Invalid):
        apply(template, tags=["nobody"])
    with pytest.raises(Invalid):
        apply(template, db1)
    assert [one.host_name for one in apply(template, web1, db1)] == ["web1"]


def test_more_hosts_than_one_request_can_bear_are_refused(save, web1, monkeypatch):
    monkeypatch.setattr(applying, "MAX_HOSTS", 1)
    template = save()

    with pytest.raises(Invalid):
        look(template, [web1.id, new_ulid()])


def test_an_unknown_template_is_not_found(apply, save, web1):
    template = save()
    Template.delete().execute()

    for attempt in (
        lambda: look(template, [web1.id]),
        lambda: apply(template, web1),
    ):
        with pytest.raises(NotFound):
            attempt()


def test_a_schedule_of_the_host_by_the_same_name_is_taken_over(bus, vault, apply, save, web1):
    group = cast.give_repository(bus, vault, web1)
    form = ScheduleForm(name="nightly", cron="0 5 * * *", groups=[group])
    mine = schedules.save(bus, vault, host_id=web1.id, schedule_id=None, form=form, actor=BOB, now=NOW)

    apply(save(), web1)

    [planned] = rows(web1)[1]
    assert (planned.id, planned.cron) == (mine.id, "15 3 * * *")


def test_a_retention_by_which_most_snapshots_would_go_is_not_applied_by_a_template(bus, vault, apply, save, web1):
    cast.give_repository(bus, vault, web1)
    template = save(replace(FORM, groups=[replace(SYSTEM, retention={"keep_last": 1})]))
    source_groups.save(
        bus, vault, host_id=web1.id, group_id=None, form=replace(SYSTEM, retention={}), actor=BOB, now=NOW
    )
    host = cast.host_row(web1)
    for day in range(1, 5):
        Snapshot.create(
            repository=host.repository_id, id=f"{day}" * 64, time=NOW - timedelta(days=day), hostname=host.hostname,
            tags=["system"], listing_id=new_ulid(),
        )  # fmt: skip

    [shown] = look(template, [web1.id])
    [result] = apply(template, web1)

    assert "more than half" in shown.problem
    assert (result.outcome, result.problem) == ("refused", shown.problem.removeprefix("system: "))
    assert SourceGroup.get(SourceGroup.name == "system").retention == {}


def with_snapshots(bus, vault, host, days=4, tags=("system",)):
    if cast.host_row(host).repository_id is None:
        cast.give_repository(bus, vault, host)
    row = cast.host_row(host)
    for day in range(1, days + 1):
        Snapshot.create(
            repository=row.repository_id, id=new_ulid(), time=NOW - timedelta(days=day), hostname=row.hostname,
            tags=list(tags), listing_id=new_ulid(),
        )  # fmt: skip


def test_looking_at_a_retention_for_many_hosts_asks_the_database_as_often_as_for_one(bus, vault, save, web1):
    template = save(replace(FORM, groups=[replace(SYSTEM, retention={"keep_last": 1})]))
    others = [cast.add_host(bus, f"other{number}") for number in range(20)]
    for host in (web1, *others):
        with_snapshots(bus, vault, host)
    looked = {}

    for name, ids in (("one", [web1.id]), ("many", [web1.id, *(host.id for host in others)])):
        asked = []
        db.connection().set_trace_callback(asked.append)
        try:
            shown = look(template, ids)
        finally:
            db.connection().set_trace_callback(None)
        looked[name] = len(asked)
        assert all("more than half" in one.problem for one in shown) and len(shown) == len(ids)

    assert looked["many"] == looked["one"]


def test_looking_at_many_hosts_judges_each_by_its_own_snapshots(bus, vault, save, web1, db1):
    template = save(replace(FORM, groups=[replace(SYSTEM, retention={"keep_daily": 2})]))
    with_snapshots(bus, vault, web1, days=5)
    with_snapshots(bus, vault, db1, days=4)
    with_snapshots(bus, vault, db1, days=9, tags=["base"])
    other_name = cast.add_host(bus, "mail1")
    Host.update(repository=cast.host_row(web1).repository_id).where(Host.id == other_name.id).execute()

    shown = {one.host.name: one.problem for one in look(template, [web1.id, db1.id, other_name.id])}

    assert "more than half" in shown["web1"]
    assert (shown["db1"], shown["mail1"]) == ("", "")


def test_hosts_with_more_snapshots_than_are_looked_at_are_named_as_not_looked_at(
    bus, vault, save, web1, db1, monkeypatch
):
    monkeypatch.setattr(retention_changes, "MOST_OF_MANY", 6)
    template = save(replace(FORM, groups=[replace(SYSTEM, retention={"keep_last": 1})]))
    for host in (db1, web1):
        with_snapshots(bus, vault, host)

    shown = {one.host.name: one for one in look(template, [web1.id, db1.id])}

    assert "more than half" in shown["db1"].problem and shown["db1"].is_looked_at
    assert (shown["web1"].problem, shown["web1"].is_looked_at) == ("", False)


def test_a_group_whose_first_forget_waits_is_shown_as_refused_where_applying_would_refuse_it(
    bus, vault, apply, save, web1
):
    template = save(replace(FORM, groups=[replace(SYSTEM, retention={"keep_last": 1}, retries=9)]))
    with_snapshots(bus, vault, web1)
    source_groups.save(
        bus, vault, host_id=web1.id, group_id=None, form=replace(SYSTEM, retention={}), actor=BOB, now=NOW
    )
    SourceGroup.update(retention={"keep_last": 1}, retention_hold="much would go").execute()

    [shown] = look(template, [web1.id])
    [result] = apply(template, web1)

    assert (result.outcome, "system: " + result.problem) == ("refused", shown.problem)


def test_an_operator_applies_a_template_only_where_it_changes_no_hooks(bus, vault, apply, save, web1, db1):
    Host.update(hook_names=["dump"]).execute()
    template = save(replace(FORM, groups=[replace(SYSTEM, pre_hook="dump")]))
    apply(template, db1, actor=ALICE)
    change(bus, vault, db1, rows(db1)[0][0], retries=5)

    shown = {one.host.name: one.problem for one in look(template, [web1.id, db1.id])}
    results = {one.host_name: one.outcome for one in apply(template, web1, db1)}

    assert "administrator" in shown["web1"] and shown["db1"] == ""
    assert results == {"web1": "refused", "db1": "applied"}
    assert rows(web1) == ([], [])
    assert apply(template, web1, actor=ALICE)[0].outcome == "applied"


def test_it_goes_to_the_hosts_with_any_of_the_tags_and_to_chosen_ones_once(bus, apply, save, web1, db1):
    for number, tags in enumerate((["a"], ["b"], ["a", "b"], ["c"])):
        host = cast.add_host(bus, f"app{number}")
        for tag in tags:
            tagged(host, tag)

    results = apply(save(), web1, tags=["a", "b"])

    assert [one.host_name for one in results] == ["app0", "app1", "app2", "web1"]


def test_all_hosts_that_differ_are_meant_by_one_word_however_many(bus, vault, apply, save, web1, db1):
    template = save()
    apply(template, web1, db1)
    with pytest.raises(Invalid):
        look(template, is_differing=True)
    change(bus, vault, web1, rows(web1)[0][0], retries=5)

    assert [one.host.name for one in look(template, is_differing=True)] == ["web1"]


def test_a_template_that_changes_while_hosts_are_written_goes_to_none_of_the_rest(
    bus, vault, save, web1, db1, monkeypatch
):
    template = save()
    write = applying.source_groups.put

    def put_and_change(*args, **more):
        found = write(*args, **more)
        Template.update(version=Template.version + 1).execute()
        return found

    monkeypatch.setattr(applying.source_groups, "put", put_and_change)

    first, second = applying.apply(
        bus, vault, template_id=template.id, version=template.version, choice=Choice(host_ids=[web1.id, db1.id]),
        actor=ALICE, now=NOW,
    )  # fmt: skip

    assert (first.outcome, second.outcome) == ("applied", "refused")
    assert "changed meanwhile" in second.problem
