"""Choosing what to back up."""

from rm.store.models import SourceGroup
from tests.cast import EnrolledHost
from tests.web.conftest import Browser

FORM = {"name": "etc", "includes": "/etc\r\n/root\r\n\r\n", "excludes": "*.tmp"}


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


def test_a_relative_path_is_refused_and_everything_typed_is_kept(bob: Browser, web1: EnrolledHost) -> None:
    answer = bob.post(f"/hosts/{web1.id}/sources/new", FORM | {"includes": "etc"})

    assert answer.status == 422
    assert "etc" in answer.text("#includes-error")
    assert answer.find("#includes").get_text().strip() == "etc"
    assert answer.find("#excludes").get_text().strip() == "*.tmp"


def test_another_hosts_group_is_not_found(bob: Browser, web1: EnrolledHost, db1: EnrolledHost) -> None:
    bob.post(f"/hosts/{web1.id}/sources/new", FORM)

    path = f"/hosts/{db1.id}/sources/{SourceGroup.get().id}"

    assert bob.get(path).status == 404
    assert bob.post(path, FORM).status == 404
    assert bob.post(f"{path}/remove").status == 404
    assert SourceGroup.select().count() == 1
