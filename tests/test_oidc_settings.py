"""The settings of the sign-in provider: all that is needed or none, and nothing unprotected."""

import pytest

from rm.config import Settings
from rm.errors import NotReady

GOOD = {
    "RM_OIDC_ISSUER": "https://id.example.net/realms/main",
    "RM_OIDC_CLIENT_ID": "restic-manager",
    "RM_OIDC_CLIENT_SECRET": "s",
    "RM_OIDC_ROLE_ADMIN": "admins, Backup people",
}


def test_good_settings_are_taken():
    settings = Settings.from_env(GOOD)

    assert settings.has_oidc
    assert settings.oidc_role_admin == ("admins", "Backup people")
    assert settings.oidc_scopes == "openid profile"


def test_none_at_all_is_good_too():
    assert not Settings.from_env({}).has_oidc


def test_the_secret_may_be_in_a_file(tmp_path):
    (tmp_path / "secret").write_text("from a file\n")
    environ = {name: text for name, text in GOOD.items() if name != "RM_OIDC_CLIENT_SECRET"}

    settings = Settings.from_env(environ | {"RM_OIDC_CLIENT_SECRET_FILE": str(tmp_path / "secret")})

    assert settings.oidc_client_secret == "from a file"


@pytest.mark.parametrize(
    "change, named",
    [
        ({"RM_OIDC_ISSUER": ""}, "RM_OIDC_ISSUER"),
        ({"RM_OIDC_CLIENT_ID": ""}, "RM_OIDC_CLIENT_ID"),
        ({"RM_OIDC_ROLE_ADMIN": " , "}, "RM_OIDC_ROLE_ADMIN"),
        ({"RM_OIDC_SCOPES": "profile"}, "RM_OIDC_SCOPES"),
        ({"RM_OIDC_CA_FILE": "/nowhere/ca.pem"}, "RM_OIDC_CA_FILE"),
        ({"RM_OIDC_ISSUER": "http://id.example.net"}, "RM_OIDC_ISSUER"),
        ({"RM_OIDC_ISSUER": "https://user:secret@id.example.net"}, "RM_OIDC_ISSUER"),
        ({"RM_OIDC_ISSUER": "https://id.example.net/?x=1"}, "RM_OIDC_ISSUER"),
        ({"RM_OIDC_ISSUER": "https://id.example.net/#x"}, "RM_OIDC_ISSUER"),
        ({"RM_OIDC_ISSUER": "https://"}, "RM_OIDC_ISSUER"),
        ({"RM_OIDC_ISSUER": "https://[::1"}, "RM_OIDC_ISSUER"),
        ({"RM_OIDC_ISSUER": "https://id.example.net/ x"}, "RM_OIDC_ISSUER"),
        ({"RM_OIDC_ISSUER": "ftp://id.example.net"}, "RM_OIDC_ISSUER"),
        ({"RM_OIDC_ISSUER": "https://169.254.169.254/"}, "RM_OIDC_ISSUER"),
        ({"RM_OIDC_ISSUER": "https://[fe80::1]/"}, "RM_OIDC_ISSUER"),
    ],
    ids=str,
)
def test_what_cannot_work_stops_the_start_with_its_name(change, named):
    with pytest.raises(NotReady, match=named) as caught:
        Settings.from_env(GOOD | change)

    assert "secret" not in caught.value.message


def test_a_provider_on_loopback_may_speak_http():
    assert Settings.from_env(GOOD | {"RM_OIDC_ISSUER": "http://127.0.0.1:9000"}).has_oidc
