"""API tokens of people whom the provider lets in: what it gave ends where it says so."""

from types import SimpleNamespace

import pytest

from rm.domain.oidc import Identity, RoleValues
from rm.errors import Unauthorised
from rm.services import api_tokens, oidc
from rm.services.oidc_refusals import SignInRefused
from rm.services.tries import Tries
from rm.store.models import AuditEntry, User
from tests import cast

ISSUER = "https://id.example.net"
CLIENT = SimpleNamespace(
    issuer=ISSUER, role_claim="groups", roles=RoleValues(("admins",), ("operators",), ("viewers",)),
    username_claim="name", label="Provider",
)  # fmt: skip


@pytest.fixture
def sign_in(bus, vault):
    """sign_in("admins") → bob, whose account is the provider's, comes back with these groups."""
    User.update(oidc_issuer=ISSUER, oidc_subject="bob-subject").where(User.id == cast.BOB.id).execute()

    def sign_in(*groups):
        claims = {"sub": "bob-subject", "name": "bob", "groups": list(groups)}
        state = []
        provider = SimpleNamespace(
            client=CLIENT,
            authorization_url=lambda **given: state.append(given["state"]) or ISSUER,
            identify=lambda **_: Identity(issuer=ISSUER, subject="bob-subject", claims=claims),
        )
        common = {
            "address": "192.0.2.9", "now": cast.NOW, "limits": Tries(), "offload": lambda function: function(),
        }  # fmt: skip
        begun = oidc.begin(vault, provider, next_path="/", **common)
        return oidc.finish(
            bus, vault, provider, answer=oidc.Answer(state=state[0], code="x"), browser_token=begun.browser_token,
            user_agent="", **common,
        )  # fmt: skip

    return sign_in


def use(plain):
    return api_tokens.authenticate(plain, address="192.0.2.9", limits=Tries(), now=cast.NOW)


def test_tokens_of_somebody_to_whom_the_provider_gives_no_role_any_more_end(bus, sign_in):
    _, plain = api_tokens.create(bus, name="script", role="operator", tags=(), days=365, actor=cast.BOB, now=cast.NOW)
    sign_in("operators")
    assert use(plain).role == "operator"

    with pytest.raises(SignInRefused):
        sign_in("gardeners")

    with pytest.raises(Unauthorised):
        use(plain)
    assert AuditEntry.select().where(AuditEntry.action == "token.revoked").count() == 1


def test_a_token_does_no_more_than_the_role_that_the_provider_gave_last(bus, sign_in):
    _, plain = api_tokens.create(bus, name="script", role="operator", tags=(), days=365, actor=cast.BOB, now=cast.NOW)

    sign_in("viewers")

    assert use(plain).role == "viewer"
