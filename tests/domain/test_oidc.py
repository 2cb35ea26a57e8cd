"""Which role and which claim a provider's words give."""

import pytest

from rm.domain.oidc import RoleValues, find_claim, joined_claims, role_of

VALUES = RoleValues(admin=("root", "boss"), operator=("ops",), viewer=("all",))


@pytest.mark.parametrize(
    "claim, role",
    [
        (["all", "ops", "boss"], "admin"),
        (["all", "ops"], "operator"),
        (["all"], "viewer"),
        ("root", "admin"),
        (["Root"], None),
        (["ro"], None),
        ([], None),
        (None, None),
        ({"root": True}, None),
        ([{"root": 1}, 7, None, ["root"]], None),
        (["x"] * 3000 + ["root"], None),
    ],
    ids=str,
)
def test_the_highest_known_value_counts_and_nothing_else(claim, role):
    assert role_of({"groups": claim}, "groups", VALUES) == role


def test_no_values_give_no_role():
    assert role_of({"groups": ["", "root"]}, "groups", RoleValues()) is None


def test_dots_lead_into_objects_unless_a_claim_has_that_name():
    claims = {"a": {"b": ["inner"]}, "https://x.example/roles": ["named"]}

    assert find_claim(claims, "a.b") == ["inner"]
    assert find_claim(claims, "https://x.example/roles") == ["named"]
    assert find_claim(claims, "a.b.c") is None
    assert find_claim(claims, "c") is None


def test_what_is_signed_goes_before_what_is_told():
    assert joined_claims({"sub": "1", "groups": ["a"]}, {"sub": "1", "groups": ["b"], "name": "n"}) == {
        "sub": "1", "groups": ["a"], "name": "n",
    }  # fmt: skip
    assert joined_claims({"sub": "1"}, None) == {"sub": "1"}


@pytest.mark.parametrize("told", [{}, {"sub": "2"}, {"sub": None}, {"sub": ["1"]}])
def test_two_subjects_are_no_person(told):
    with pytest.raises(ValueError, match="somebody else"):
        joined_claims({"sub": "1"}, told)
