"""Templates of groups and schedules: making them, looking at the differences, applying them, and drift."""

from collections.abc import Callable

import pytest

from rm.store.models import Host, HostTag, Schedule, SourceGroup, Template
from tests.cast import EnrolledHost
from tests.web.conftest import Browser

GROUP = {
    "name": "etc", "includes": "/etc", "excludes": "", "tags": "", "mode": "always_on", "retention_choice": "short",
    "retries": "2", "retry_minutes": "10",
}  # fmt: skip
NEW = GROUP | {"template_name": "web servers", "description": "all alike"}
NIGHTLY = {"name": "nightly", "when": "daily", "at": "03:15", "jitter": "30", "is_enabled": "yes", "groups": "etc"}


def version() -> dict[str, str]:
    return {"version": str(Template.get().version)}


@pytest.fixture
def path(alice: Browser) -> str:
    """A template with a group and a nightly schedule."""
    alice.post("/templates/new", NEW)
    found = f"/templates/{Template.get().id}"
    alice.post(f"{found}/schedules/new", NIGHTLY | version())
    return found


@pytest.fixture
def apply(bob: Browser, path: str) -> Callable[..., object]:
    """Applies the template as it is."""

    def to(**chosen: str) -> object:
        return bob.post(f"{path}/apply", chosen | version())

    return to


def test_without_any_template_the_page_says_what_they_are_for(bob: Browser) -> None:
    page = bob.get("/templates")

    assert "once what every web server backs up" in page.text(".empty")
    assert "An administrator can make one." in page.text(".empty")


def test_a_template_is_made_in_the_browser_group_by_group(alice: Browser, path: str) -> None:
    alice.post(f"{path}/groups/new", GROUP | {"name": "srv", "includes": "/srv"} | version())

    body = Template.get().body
    assert [one["name"] for one in body["groups"]] == ["etc", "srv"]
    assert body["groups"][0]["retention"] == {"keep_last": 3, "keep_daily": 7}
    assert [(one["cron"], one["jitter_seconds"], one["groups"]) for one in body["schedules"]] == [
        ("15 3 * * *", 1800, ["etc"])
    ]
    page = alice.get(path)
    assert "Keeps the last 3 and 7 daily." in page.text("#template-groups")
    assert "At 03:15 every day" in page.text("#template-schedules")


def test_a_group_is_changed_under_its_new_name_and_removed(alice: Browser, path: str) -> None:
    alice.post(f"{path}/groups/0", GROUP | {"name": "system"} | version())
    renamed = Template.get().body
    alice.post(f"{path}/groups/new", GROUP | {"name": "srv", "includes": "/srv"} | version())
    alice.post(f"{path}/groups/0/remove", version())

    assert renamed["schedules"][0]["groups"] == ["system"]
    assert [one["name"] for one in Template.get().body["groups"]] == ["srv"]
    assert (Template.get().body["schedules"][0]["groups"], Template.get().body["schedules"][0]["is_enabled"]) == (
        [], False,
    )  # fmt: skip


def test_a_schedule_is_changed_and_removed(alice: Browser, path: str) -> None:
    form = alice.get(f"{path}/schedules/0")
    alice.post(f"{path}/schedules/0", NIGHTLY | {"when": "every", "every": "6", "unit": "60"} | version())
    changed = Template.get().body["schedules"][0]
    alice.post(f"{path}/schedules/0/remove", version())

    assert form.find("#at")["value"] == "03:15"
    assert (changed["cron"], changed["every_minutes"]) == ("", 360)
    assert Template.get().body["schedules"] == []


def test_what_is_wrong_stands_beside_its_field_and_nothing_typed_is_lost(alice: Browser, path: str) -> None:
    group = alice.post(f"{path}/groups/new", GROUP | {"name": "srv", "includes": "srv", "tags": "kept"} | version())
    same = alice.post(f"{path}/groups/new", GROUP | version())
    schedule = alice.post(f"{path}/schedules/0", NIGHTLY | {"at": "25:00"} | version())
    template = alice.post("/templates/new", NEW)

    assert (group.status, same.status, schedule.status, template.status) == (422,) * 4
    assert "/" in group.text("#includes-error")
    assert group.find("#tags").get_text().strip() == "kept"
    assert "Two groups have this name" in same.text()
    assert schedule.text("#at-error")
    assert "already" in template.text("#template_name-error")


def test_a_form_of_an_older_version_is_refused(alice: Browser, path: str) -> None:
    old = version()
    alice.post(f"{path}/groups/new", GROUP | {"name": "srv"} | old)

    assert alice.post(f"{path}/groups/0", GROUP | {"includes": "/other"} | old).status == 409
    assert alice.post(f"{path}/groups/0/remove", old).status == 409


def test_a_template_is_made_of_a_host_without_its_shell_texts(alice: Browser, web1: EnrolledHost) -> None:
    Host.update(hooks_policy="server").execute()
    hooks = {"pre_hook": "", "post_hook": "", "hook_seconds": "600", "pre_shell": "echo secret-word"}
    alice.post(f"/hosts/{web1.id}/sources/new", GROUP | hooks)

    form = alice.get(f"/templates/new?host={web1.id}")
    made = alice.post("/templates/new", {"template_name": "like web1", "host": web1.id})

    assert "of web1" in form.text("h1")
    assert made.status == 303
    assert "secret-word" not in str(Template.get().body)
    assert [one["name"] for one in Template.get().body["groups"]] == ["etc"]


def test_the_differences_are_shown_before_anything_changes(bob: Browser, web1: EnrolledHost, path: str) -> None:
    bob.post(f"/hosts/{web1.id}/sources/new", GROUP | {"includes": "/etc\n/opt", "retention_choice": "long"})
    bob.post(f"/hosts/{web1.id}/sources/new", GROUP | {"name": "own", "includes": "/own"})

    page = bob.get(f"{path}/apply?hosts={web1.id}")

    said = page.text("#outcome-1")
    assert "would change 1 host" in page.text("h1")
    assert "Changed group etc" in said
    assert "/etc, /opt becomes /etc" in said
    assert "Keeps the last 3 and 7 daily." in said
    assert "Added schedule nightly" in said
    assert "Left alone: group own." in said
    assert SourceGroup.get(SourceGroup.name == "etc").includes == ["/etc", "/opt"]


def test_hosts_with_a_tag_get_it_at_once_and_those_alike_are_shown_together(
    bob: Browser, web1: EnrolledHost, db1: EnrolledHost, path: str, apply: Callable[..., object]
) -> None:
    for host in (web1, db1):
        HostTag.create(host=host.id, tag="linux")

    page = bob.get(f"{path}/apply?tag=linux")
    apply(tag="linux")
    again = bob.get(f"{path}/apply?tag=linux")

    assert "2 hosts" in page.text("#outcome-1")
    assert not page.has("#outcome-2")
    assert (SourceGroup.select().count(), Schedule.select().count()) == (2, 2)
    assert "change none of 2 hosts" in again.text("h1")


def test_the_differences_say_at_how_many_hosts_the_snapshots_were_too_many_to_look_at(
    bob: Browser, web1: EnrolledHost, db1: EnrolledHost, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = f"{path}/apply?hosts={web1.id}&hosts={db1.id}"
    before = bob.get(chosen)
    monkeypatch.setattr("rm.services.retention_changes.MOST_OF_MANY", 0)

    page = bob.get(chosen)

    assert not before.has("#unseen")
    assert "2 hosts were not looked at" in page.text("#unseen")


def test_a_host_that_refuses_says_why_and_the_others_get_it(
    alice: Browser, bob: Browser, web1: EnrolledHost, db1: EnrolledHost, path: str
) -> None:
    alice.post(f"{path}/groups/0", GROUP | {"pre_hook": "dump", "post_hook": "", "hook_seconds": "60"} | version())
    Host.update(hook_names=["dump"]).where(Host.id == db1.id).execute()

    page = alice.get(f"{path}/apply?hosts={web1.id}&hosts={db1.id}")
    results = alice.post(f"{path}/apply", {"hosts": [web1.id, db1.id]} | version())  # type: ignore[dict-item]

    assert "Would be refused" in page.text()
    assert "hooks.d" in results.text("#results")
    assert results.text("h1") == "1 host applied, 1 host refused."
    assert [group.host_id for group in SourceGroup.select()] == [db1.id]


def test_a_template_that_changed_since_it_was_looked_at_is_not_applied(
    alice: Browser, bob: Browser, web1: EnrolledHost, path: str
) -> None:
    old = version()
    alice.post(f"{path}/groups/0", GROUP | {"includes": "/everything"} | old)

    assert bob.post(f"{path}/apply", {"hosts": web1.id} | old).status == 409
    assert SourceGroup.select().count() == 0


def test_choosing_nothing_is_said_beside_the_choice(bob: Browser, web1: EnrolledHost, path: str) -> None:
    page = bob.get(f"{path}/apply")

    assert page.status == 422
    assert "Choose a tag, or hosts." in page.text("#hosts-error")


def test_drift_is_shown_on_the_host_and_on_the_template(
    alice: Browser, bob: Browser, web1: EnrolledHost, path: str, apply: Callable[..., object]
) -> None:
    apply(hosts=web1.id)
    same = bob.get(path).text("#template-hosts")
    bob.post(f"/hosts/{web1.id}/sources/{SourceGroup.get().id}", GROUP | {"includes": "/etc\n/opt"})

    assert "The same" in same
    assert "Differs" in bob.get(path).text("#template-hosts")
    assert "It differs from the template web servers in include." in bob.get(f"/hosts/{web1.id}").text(
        "#template-drift"
    )
    assert bob.get(f"{path}/hosts").response.headers["Location"].endswith("/apply?differing=yes")
    alice.post(f"{path}/remove")
    assert not bob.get(f"/hosts/{web1.id}").has("#template-drift")


def test_the_card_of_a_group_says_which_template_it_was_made_from(
    bob: Browser, web1: EnrolledHost, path: str, apply: Callable[..., object]
) -> None:
    apply(hosts=web1.id)

    assert "Made from the template web servers" in bob.get(f"/hosts/{web1.id}/sources/{SourceGroup.get().id}").text()
    assert "Made from the template web servers" in bob.get(f"/hosts/{web1.id}/schedules/{Schedule.get().id}").text()


def test_a_name_and_a_purpose_are_changed(alice: Browser, path: str) -> None:
    alice.post(f"{path}/edit", {"template_name": "proxies", "description": "others"})
    refused = alice.post(f"{path}/edit", {"template_name": "", "description": "typed"})

    assert (Template.get().name, Template.get().description) == ("proxies", "others")
    assert refused.status == 422
    assert refused.find("#description")["value"] == "typed"


def test_an_operator_applies_but_does_not_edit_and_a_viewer_only_looks(
    bob: Browser, charlie: Browser, web1: EnrolledHost, path: str
) -> None:
    assert (charlie.get("/templates").status, charlie.get(path).status) == (200, 200)
    assert (charlie.get(f"{path}/apply?hosts={web1.id}").status, charlie.post(f"{path}/apply").status) == (403, 403)
    edits = ("/edit", "/groups/new", "/groups/0", "/groups/0/remove", "/schedules/new", "/schedules/0", "/remove")
    assert {bob.post(f"{path}{part}", GROUP | version()).status for part in edits} == {403}
    assert not bob.get(path).has("a[href$='/edit']")
    assert Template.get().version == 2


def test_what_is_not_there_is_not_found(alice: Browser, path: str) -> None:
    missing = ("/templates/nothing", f"{path}/groups/9", f"{path}/schedules/9", "/templates/new?host=nothing")

    assert {alice.get(one).status for one in missing} == {404}


def test_several_tags_and_the_hosts_that_differ_are_chosen_in_the_address(
    bob: Browser, web1: EnrolledHost, db1: EnrolledHost, path: str, apply: Callable[..., object]
) -> None:
    HostTag.create(host=web1.id, tag="linux")
    HostTag.create(host=db1.id, tag="db & more")

    page = bob.get(f"{path}/apply?tag=linux&tag=db+%26+more")
    bob.post(f"{path}/apply", {"tag": ["linux", "db & more"]} | version())  # type: ignore[dict-item]
    SourceGroup.update(includes=["/opt"]).where(SourceGroup.host == db1.id).execute()
    differing = bob.get(f"{path}/apply?differing=yes")
    bob.post(f"{path}/apply", {"differing": "yes"} | version())

    assert [str(field["value"]) for field in page.soup.select("input[name=tag]")] == ["linux", "db & more"]
    assert "would change 1 host" in differing.text("h1")
    assert [group.includes for group in SourceGroup.select()] == [["/etc"], ["/etc"]]
