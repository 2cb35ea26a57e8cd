"""Settings: read once, checked, and never logged."""

from pathlib import Path

import pytest

from rm.config import Settings, split_listen
from rm.errors import NotReady


def test_without_any_variable_the_server_listens_on_loopback_only():
    settings = Settings.from_env({})

    assert settings.listen == "127.0.0.1:8080"
    assert settings.base_url == "http://127.0.0.1:8080"
    assert settings.secret_key_file == Path("data").absolute() / "secret.key"


def test_cookies_need_https_unless_the_base_url_is_plain_and_local():
    assert Settings.from_env({}).cookie_secure is False
    assert Settings.from_env({"RM_BASE_URL": "https://backup.example"}).cookie_secure is True
    assert Settings.from_env({"RM_BASE_URL": "http://backup.example"}).cookie_secure is True
    assert (
        Settings.from_env({"RM_BASE_URL": "http://backup.example", "RM_COOKIE_SECURE": "false"}).cookie_secure is False
    )


def test_a_secret_can_come_from_a_file(tmp_path):
    (tmp_path / "token").write_text("from-file\n")

    assert Settings.from_env({"RM_SETUP_TOKEN_FILE": str(tmp_path / "token")}).setup_token == "from-file"


def test_a_secret_from_two_places_is_refused(tmp_path):
    (tmp_path / "token").write_text("a")

    with pytest.raises(NotReady, match="both set"):
        Settings.from_env({"RM_SETUP_TOKEN": "b", "RM_SETUP_TOKEN_FILE": str(tmp_path / "token")})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RM_LISTEN", "8080"),
        ("RM_LISTEN", "127.0.0.1:99999"),
        ("RM_BASE_URL", "https://backup.example/path"),
        ("RM_BASE_URL", "ftp://backup.example"),
        ("RM_COOKIE_SECURE", "1"),
        ("RM_TRUSTED_PROXY", "10.0.0.0/99"),
        ("RM_LOG_LEVEL", "loud"),
        ("RM_LOG_FORMAT", "xml"),
        ("RM_WORKER_CLASS", "eventlet"),
    ],
)
def test_a_value_that_cannot_be_used_names_its_variable(name, value):
    with pytest.raises(NotReady, match=name):
        Settings.from_env({name: value})


def test_an_ipv6_address_is_understood():
    assert split_listen("[::1]:8080") == ("::1", 8080)
    assert Settings.from_env({"RM_LISTEN": "[::]:8080"}).base_url == "http://127.0.0.1:8080"
