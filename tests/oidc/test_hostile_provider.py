"""Answers that no honest provider gives: each is refused, and the reason is in the log and the audit."""

import json
import time
from datetime import datetime, timezone

import pytest
from joserfc.jwk import RSAKey

from rm.domain.oidc import RoleValues
from rm.services import oidc_transport
from rm.services.oidc_client import Client
from rm.services.oidc_provider import NetworkProvider
from rm.services.oidc_refusals import ProviderAway, SignInRefused
from rm.store.models import AuditEntry, User
from tests.oidc.conftest import Person, query
from tests.oidc.hostile import HostileProvider, as_json, serve
from tests.oidc.provider import CLIENT_ID, CLIENT_SECRET
from tests.stopwatch import Stopwatch

KEY, OTHER_KEY = (RSAKey.generate_key(2048, {"use": "sig", "kid": "k1"}) for _ in range(2))
SMALL_KEY = {"kty": "RSA", "kid": "k1", "use": "sig", "e": "AQAB", "n": KEY.as_dict(private=False)["n"][:170]}
HOUR = 3600


@pytest.fixture
def hostile():
    provider = HostileProvider(key=KEY, other_key=OTHER_KEY)
    server = serve(provider)
    yield provider
    server.shutdown()
    server.server_close()


@pytest.fixture
def issuer(hostile):
    return hostile.issuer


def way(person: Person, hostile: HostileProvider):
    """There and back, without a person at the provider."""
    asked = query(person.begin())
    hostile.nonce = asked["nonce"]
    return person.come_back(f"/login/oidc/callback?code=c&state={asked['state']}")


def reasons():
    query = AuditEntry.select().where(AuditEntry.action == "user.oidc_refused").order_by(AuditEntry.id)
    return [entry.payload["reason"] for entry in query]


def asker(hostile: HostileProvider) -> NetworkProvider:
    """This server's side, without a server."""
    roles = RoleValues(admin=("rm-admins",))
    return NetworkProvider(
        Client(
            issuer=hostile.issuer, id=CLIENT_ID, secret=CLIENT_SECRET, scopes="openid", role_claim="groups",
            roles=roles, username_claim="preferred_username", label="x", redirect_uri="http://localhost/back",
        )
    )  # fmt: skip


def refusal(hostile: HostileProvider) -> str:
    """Why nobody is identified by what the provider answers."""
    hostile.nonce = "n"
    with pytest.raises(SignInRefused) as caught:
        asker(hostile).identify(code="c", verifier="v" * 43, nonce="n", now=datetime.now(timezone.utc))
    return caught.value.reason


def test_an_honest_answer_is_taken(person, hostile):
    erin = person("erin")

    assert way(erin, hostile).status == 303
    assert erin.who() == "erin"


NOW = int(time.time())
CLAIMS = {
    "nonce of another": {"nonce": "another"},
    "no nonce": {"nonce": None},
    "expired": {"exp": NOW - HOUR, "iat": NOW - 2 * HOUR},
    "no expiry": {"exp": None},
    "expiry that is no number": {"exp": "never"},
    "issued in the future": {"iat": NOW + HOUR, "exp": NOW + 2 * HOUR},
    "not yet": {"nbf": NOW + HOUR},
    "for somebody else": {"aud": "another client"},
    "for many without a party": {"aud": ["restic-manager", "another client"]},
    "for another party": {"aud": ["restic-manager", "another client"], "azp": "another client"},
    "for nobody": {"aud": []},
    "from somebody else": {"iss": "https://evil.example"},
    "from a slash more": {"iss": "/"},
    "about nobody": {"sub": None},
    "about an empty subject": {"sub": ""},
    "about a list": {"sub": ["erin-subject"]},
    "about too much": {"sub": "x" * 300},
    "of another access token": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
}


@pytest.mark.parametrize("change", CLAIMS.values(), ids=CLAIMS.keys())
def test_a_token_with_a_claim_that_does_not_hold_is_refused(hostile, change):
    hostile.change = change
    if "sub" in change:
        hostile.told = {"sub": change["sub"]}

    assert refusal(hostile) == "bad_token"


def test_a_refused_token_makes_no_account_and_the_reason_is_in_the_audit(person, hostile):
    hostile.change = {"aud": "another client"}
    erin = person("erin")

    back = way(erin, hostile)

    assert back.status == 403
    assert erin.who() is None
    assert reasons() == ["bad_token"]
    assert User.get_or_none(User.username == "erin") is None


TOKENS = {
    "signed by nobody": lambda p, claims: p.sign_with_secret(claims, b"", "none"),
    "signed by NoNe": lambda p, claims: p.sign_with_secret(claims, b"", "NoNe"),
    "signed with the public key as a secret": lambda p, claims: p.sign_with_secret(claims, KEY.as_pem(private=False)),
    "signed with the client's secret": lambda p, claims: p.sign_with_secret(claims, CLIENT_SECRET.encode()),
    "signed by another key of the same name": lambda p, claims: p.sign(claims, key=OTHER_KEY),
    "signed by a key of no known name": lambda p, claims: p.sign(claims, key=OTHER_KEY, kid="k2"),
    "with its key in its own head": lambda p, claims: p.sign(
        claims, key=OTHER_KEY, kid="k2", jwk=OTHER_KEY.as_dict(private=False)
    ),
    "with the address of its key in its head": lambda p, claims: p.sign(
        claims, key=OTHER_KEY, kid="k2", jku=f"{p.issuer}/evil"
    ),
    "changed after it was signed": lambda p, claims: ".".join(
        [p.sign(claims).split(".")[0], p.sign(claims | {"sub": "root"}).split(".")[1], p.sign(claims).split(".")[2]]
    ),
    "that is an access token": lambda p, claims: p.sign(claims, typ="at+jwt"),
    "with an extension that must be understood": lambda p, claims: p.sign_with_secret(claims, b"", "RS256"),
    "that is no token": lambda p, claims: "a.b.c",
    "that is empty": lambda p, claims: "..",
    "that is huge": lambda p, claims: p.sign_with_secret(claims | {"x": "x" * 150_000}, b"", "RS256"),
}


@pytest.mark.parametrize("make", TOKENS.values(), ids=TOKENS.keys())
def test_a_token_is_refused(hostile, make):
    hostile.token = lambda claims: make(hostile, claims)

    assert refusal(hostile) == "bad_token"
    assert "/evil" not in hostile.asked


def test_userinfo_about_somebody_else_is_refused(person, hostile):
    hostile.told = {"sub": "root", "groups": ["rm-admins"]}
    erin = person("erin")

    assert way(erin, hostile).status == 403
    assert erin.who() is None
    assert reasons() == ["other_person"]


def test_userinfo_about_nobody_is_refused(hostile):
    hostile.told = {"groups": ["rm-admins"]}

    assert refusal(hostile) == "other_person"


def test_a_role_that_only_userinfo_tells_counts(person, hostile):
    hostile.change = {"groups": None}
    hostile.told = {"sub": "erin-subject", "groups": "rm-operators"}

    assert way(person("erin"), hostile).status == 303
    assert User.get(User.username == "erin").role == "operator"


NAMES = ("", "x", "a b", "<b>erin</b>", "erin\u202e", "\u0435rin", "e" * 65, ["erin"], None, 7)
SHAPES = (None, [], {}, {"rm-admins": True}, 7, [["rm-admins"]], "rm-admins,x", ["RM-ADMINS"])


def test_a_name_that_cannot_be_used_is_refused(person, hostile):
    for name in NAMES:
        hostile.change = {"preferred_username": name}
        assert way(person("erin"), hostile).status == 403, name

    assert reasons() == ["bad_name"] * len(NAMES)
    assert User.select().count() == 3


def test_a_role_claim_of_another_shape_gives_no_role(person, hostile):
    for groups in SHAPES:
        hostile.change = {"groups": groups}
        assert way(person("erin"), hostile).status == 403, groups

    assert reasons() == ["no_role"] * len(SHAPES)


def redirect(hostile):
    return lambda: (302, {"Location": f"{hostile.issuer}/elsewhere"}, b"")


ANSWERS = {
    "a redirect": redirect,
    "a page": lambda p: lambda: (200, {"Content-Type": "text/html"}, b"<html>Sign in to the hotel</html>"),
    "an error": lambda p: lambda: (500, {}, b"{}"),
    "a list": lambda p: lambda: as_json([]),
    "nothing": lambda p: lambda: (200, {}, b""),
    "half a character": lambda p: lambda: (200, {}, b'{"\xff'),
    "too many brackets": lambda p: lambda: (200, {}, b"[" * 200_000),
    "too much": lambda p: lambda: (200, {}, b" " * 300_000 + b"{}"),
    "packed": lambda p: lambda: (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b\x08\x00"),
}


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/jwks", "/token", "/userinfo"])
@pytest.mark.parametrize("make", ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_that_is_none_is_told_as_a_provider_that_is_away(hostile, path, make):
    hostile.replies[path] = make(hostile)

    assert refusal(hostile) == "provider_away"
    assert path in hostile.asked
    assert "/elsewhere" not in hostile.asked


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "http://evil.example/authorize"},
        {"authorization_endpoint": "https://user:secret@evil.example/"},
        {"authorization_endpoint": "https://evil.example/\n<script>"},
        {"token_endpoint": "http://169.254.169.254/latest/meta-data/"},
        {"token_endpoint": "https://169.254.169.254/token"},
        {"token_endpoint": "https://[fe80::1]/token"},
        {"token_endpoint": "file:///etc/passwd"},
        {"token_endpoint": "gopher://127.0.0.1/"},
        {"jwks_uri": "https://[::ffff:169.254.169.254]/jwks"},
        {"jwks_uri": "https://0.0.0.0/jwks"},
        {"jwks_uri": ["https://127.0.0.1/jwks"]},
        {"jwks_uri": ""},
    ],
    ids=str,
)
def test_a_discovery_document_that_leads_astray_is_refused(hostile, change):
    honest = json.loads(hostile.answer("/.well-known/openid-configuration")[2])
    hostile.replies["/.well-known/openid-configuration"] = lambda: as_json(honest | change)

    with pytest.raises(ProviderAway):
        asker(hostile).authorization_url(state="s", nonce="n", verifier="v" * 43)


def test_userinfo_at_a_link_local_address_is_never_asked(hostile):
    honest = json.loads(hostile.answer("/.well-known/openid-configuration")[2])
    hostile.replies["/.well-known/openid-configuration"] = lambda: as_json(
        honest | {"userinfo_endpoint": "https://169.254.169.254/userinfo"}
    )

    assert refusal(hostile) == "provider_away"


@pytest.mark.parametrize(
    "keys",
    [
        [],
        "none",
        [{"kty": "oct", "k": "c2VjcmV0", "kid": "k1"}],
        [SMALL_KEY],
        [KEY.as_dict(private=False) | {"use": "enc"}],
        [None, 7, {"kty": "RSA"}, {"kty": ["RSA"]}],
    ],
    ids=["none", "text", "secret", "small", "for another use", "broken"],
)
def test_a_key_set_without_a_key_that_signs_is_refused(hostile, keys):
    hostile.replies["/jwks"] = lambda: as_json({"keys": keys})

    assert refusal(hostile) == "provider_away"


def test_a_new_key_is_fetched_when_a_token_names_it(person, hostile):
    assert way(person("erin"), hostile).status == 303
    new = RSAKey.generate_key(2048, {"use": "sig", "kid": "k2"})
    hostile.replies["/jwks"] = lambda: as_json({"keys": [KEY.as_dict(private=False), new.as_dict(private=False)]})
    hostile.token = lambda claims: hostile.sign(claims, key=new, kid="k2")

    assert way(person("erin"), hostile).status == 303
    assert hostile.asked.count("/jwks") == 2


def test_an_answer_that_drips_is_cut_off(person, hostile, monkeypatch):
    monkeypatch.setattr(oidc_transport, "SECONDS", 1.0)
    hostile.drips = 0.2
    erin = person("erin")
    stopwatch = Stopwatch()

    page = erin.ours.post("/login/oidc")

    assert page.status == 503
    assert reasons() == ["provider_away"]
    # The whole document would take minutes.
    assert stopwatch.seconds < 30


def test_a_provider_that_does_not_know_this_server_is_told_in_the_log(person, hostile, caplog):
    hostile.replies["/token"] = lambda: as_json({"error": "invalid_client", "error_description": "c"}, 401)

    assert way(person("erin"), hostile).status == 503
    assert "RM_OIDC_CLIENT_SECRET" in caplog.text
    assert CLIENT_SECRET not in caplog.text


def test_a_provider_that_is_away_is_not_asked_again_at_once(person, hostile):
    hostile.replies["/.well-known/openid-configuration"] = lambda: (500, {}, b"")
    erin = person("erin")

    for _ in range(5):
        assert erin.ours.post("/login/oidc").status == 503

    assert len(hostile.asked) == 1
