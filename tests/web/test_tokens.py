"""Settings → Tokens, and the API's reference as a page."""

import pytest

from rm.services import api_tokens
from rm.store.models import ApiToken
from tests import cast

PATH = "/settings/tokens"


def make(browser, **values):
    return browser.post(PATH, {"name": "ansible", "role": "viewer", "tags": "", "days": "90"} | values)


def test_an_empty_page_says_what_tokens_are_for(charlie):
    assert "No token yet" in charlie.get(PATH).text()


def test_a_token_is_made_shown_once_and_listed(alice):
    made = make(alice, role="operator", tags="web, db")
    path = made.response.headers["Location"]
    first, second = alice.get(path), alice.get(path)

    plain = first.text("#plain-token")
    assert made.status == 303
    assert plain.startswith("rmt_")
    assert plain not in second.text()
    assert not second.has("#plain-token")
    assert plain not in path
    assert "operator" in alice.get(PATH).text("#tokens").lower()
    assert [tag.get_text() for tag in alice.get(PATH).soup.select("#tokens .tag")] == ["web", "db"]


def test_the_token_works_and_the_page_then_says_when_and_from_where(app, alice):
    path = make(alice).response.headers["Location"]
    plain = alice.get(path).text("#plain-token")

    answer = app.test_client().get("/api/v1/me", headers={"Authorization": f"Bearer {plain}"})

    assert answer.json["name"] == "ansible"
    assert "127.0.0.1" in alice.get(path).text()


@pytest.mark.parametrize(
    ("values", "field"), [({"name": ""}, "name"), ({"role": "root"}, "role"), ({"days": "4000"}, "days")]
)
def test_what_is_wrong_is_said_beside_the_field_and_the_rest_is_kept(alice, values, field):
    answer = make(alice, **({"tags": "web"} | values))

    assert answer.status == 422
    assert answer.has(f"#{field}-error")
    assert answer.find("#tags")["value"] == "web"
    assert ApiToken.select().count() == 0


def test_nobody_is_offered_or_given_more_than_they_may(bob):
    assert [one["value"] for one in bob.get(PATH).soup.select("input[name=role]")] == ["viewer", "operator"]
    assert make(bob, role="admin").status == 422


def test_a_token_is_revoked_after_a_question(alice):
    path = make(alice).response.headers["Location"]

    question = alice.get(f"{path}/revoke")
    answer = alice.post(f"{path}/revoke")

    assert "cannot be brought back" in question.text()
    assert answer.status == 303
    assert "Revoked" in alice.get(PATH).text("#ended")
    assert not alice.get(path).has("a[href$='/revoke']")


def test_people_see_their_own_tokens_and_administrators_all(parts, alice, bob):
    row, _ = api_tokens.create(
        parts.bus, name="of alice", role="viewer", tags=(), days=9, actor=cast.ALICE, now=cast.NOW
    )
    make(bob, name="of bob")

    assert "of alice" not in bob.get(PATH).text()
    assert bob.get(f"{PATH}/{row.id}").status == 404
    assert bob.post(f"{PATH}/{row.id}/revoke").status == 404
    assert {"of alice", "of bob"} <= {one.get_text() for one in alice.get(PATH).soup.select("bdi")}


def test_names_are_shown_as_text(alice):
    make(alice, name="<script>alert(1)</script>{{ 7*7 }}")

    page = alice.get(PATH)

    assert "<script>alert(1)</script>{{ 7*7 }}" in page.text("#tokens")
    assert "<script>alert" not in page.response.text


def test_the_reference_shows_every_operation_without_any_script(app, charlie):
    page = charlie.get("/api")
    operations = {
        operation["operationId"]
        for item in app.extensions["rm_openapi"]["paths"].values()
        for operation in item.values()
    }

    assert page.status == 200
    assert {one["id"] for one in page.soup.select("details[id]") if not one["id"].startswith("shape-")} == operations
    assert not [one for one in page.soup.select("script") if not one.get("src", "").startswith("/static/")]


def test_every_link_to_a_shape_leads_to_it(charlie):
    page = charlie.get("/api")
    there = {f"#{one['id']}" for one in page.soup.select("[id]")}

    assert {one["href"] for one in page.soup.select("main a[href^='#']")} <= there


def test_the_reference_is_for_those_who_are_signed_in(stranger):
    assert stranger.get("/api").status == 303
