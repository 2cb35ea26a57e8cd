"""Verdicts as programs read them."""

from datetime import timedelta

from rm.store.models import GroupVerdict, Host
from tests import cast
from tests.cast import NOW


def test_a_host_tells_its_verdict_and_that_of_each_group(charlie, bus, web1):
    group = cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    until = (NOW + timedelta(hours=36)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")

    host = charlie.get(f"/api/v1/hosts/{web1.id}").json

    assert (host["verdict"]["code"], host["verdict"]["protected_until"]) == ("ok", until)
    [said] = host["groups"]
    assert (said["id"], said["name"], said["mode"], said["is_scheduled"]) == (group, "files", "always_on", True)
    assert (said["code"], said["text"], said["late_at"], said["protected_until"]) == ("ok", "Backed up.", until, until)
    assert charlie.get("/api/v1/hosts").json["items"] == [host]


def test_a_host_that_was_not_judged_yet_says_so(charlie, bus, vault, web1):
    cast.give_repository(bus, vault, web1)
    Host.update(verdict_code="").execute()
    GroupVerdict.delete().execute()

    [said] = charlie.get(f"/api/v1/hosts/{web1.id}").json["groups"]

    assert (said["code"], said["since"]) == ("unjudged", None)
