"""Mail and chat through Apprise: what arrives, and what a URL cannot make it do."""

import os
import time
from email.header import decode_header, make_header
from pathlib import Path

import pytest

from rm.notifiers import apprise
from tests.notifiers.servers import HttpServer, Mailbox, drips, free_port


def mail(box: Mailbox, more: str = "") -> str:
    return f"mailto://127.0.0.1:{box.port}?from=rm@example.net&to=ops@example.net&mode=insecure{more}"


def test_mail_arrives_at_a_real_smtp_server_with_subject_and_text(mailbox: Mailbox) -> None:
    outcome = apprise.send(
        mail(mailbox), title="[critical] Backup failed: wéb1", body="Since: today\nHosts: 1", kind="failure"
    )

    assert outcome.is_ok, outcome.reason
    [message] = mailbox.messages
    assert str(make_header(decode_header(message["Subject"]))) == "[critical] Backup failed: wéb1"
    assert "ops@example.net" in message["To"]
    assert "Hosts: 1" in text_of(message)


def test_line_breaks_in_a_title_make_no_header_of_a_mail(mailbox: Mailbox) -> None:
    apprise.send(
        mail(mailbox), title="web1\r\nBcc: thief@example.org\r\n\r\nnew body", body="x\r\n.\r\nQUIT", kind="failure"
    )

    [message] = mailbox.messages
    assert message["Bcc"] is None
    assert "thief" not in str(message["To"])
    assert "new body" not in text_of(message)


def test_a_mail_server_that_refuses_is_a_failure_with_a_reason(mailbox: Mailbox) -> None:
    mailbox.refuses_with = "552 mailbox full"

    outcome = apprise.send(mail(mailbox), title="t", body="b", kind="info")

    assert not outcome.is_ok
    assert outcome.reason


def test_ntfy_gets_title_text_priority_and_password(server: HttpServer) -> None:
    outcome = apprise.send(
        f"ntfy://ops:hunter2@127.0.0.1:{server.port}/backups?priority=high", title="[critical] t", body="b",
        kind="failure",
    )  # fmt: skip

    assert outcome.is_ok, outcome.reason
    [request] = server.requests
    assert b"[critical] t" in request.body
    assert b"backups" in request.body
    assert request.headers["Authorization"].startswith("Basic ")


@pytest.mark.parametrize("status", [401, 429, 500])
def test_an_answer_that_is_an_error_is_a_failure_whose_reason_holds_no_secret(server: HttpServer, status: int) -> None:
    server.says(status, body=b'{"error": "no"}')

    outcome = apprise.send(
        f"ntfy://ops:hunter2@127.0.0.1:{server.port}/topic-known-to-few", title="t", body="b", kind="info"
    )

    assert not outcome.is_ok
    assert str(status) in outcome.reason
    assert "hunter2" not in outcome.reason
    assert "topic-known-to-few" not in outcome.reason


def test_what_a_library_quotes_of_a_url_does_not_reach_the_reason(server: HttpServer) -> None:
    """requests quotes a header that it does not send, with its line break written out."""
    url = f"ntfy://127.0.0.1:{server.port}/topic?email=hunter2%0d%0aX-Evil:1"

    outcome = apprise.send(url, title="t", body="b", kind="info")

    assert not outcome.is_ok
    assert "hunter2" not in outcome.reason
    assert "X-Evil" not in outcome.reason


def test_nobody_there_is_a_failure_in_plain_words() -> None:
    outcome = apprise.send(f"ntfy://ops:hunter2@127.0.0.1:{free_port()}/topic", title="t", body="b", kind="info")

    assert "refused" in outcome.reason
    assert "hunter2" not in outcome.reason


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_its_target_hears_nothing(
    server: HttpServer, other_server: HttpServer, status: int
) -> None:
    server.says(status, {"Location": f"{other_server.url}/stolen"})

    outcome = apprise.send(f"ntfy://127.0.0.1:{server.port}/topic", title="t", body="b", kind="info")

    assert not outcome.is_ok
    assert len(server.requests) == 1
    assert other_server.requests == []


@pytest.mark.parametrize("option", ["?a=b;redirect=yes", "?%20redirect=yes", "#?redirect=yes", "?redirect%20=yes"])
def test_no_way_of_writing_an_option_makes_it_follow_a_redirect(
    server: HttpServer, other_server: HttpServer, option: str
) -> None:
    server.says(307, {"Location": f"{other_server.url}/stolen"})

    outcome = apprise.send(f"ntfy://127.0.0.1:{server.port}/topic{option}", title="t", body="b", kind="info")

    assert not outcome.is_ok
    assert other_server.requests == []


def test_a_service_that_never_ends_its_answer_is_ended(server: HttpServer) -> None:
    server.answer = drips(300)  # type: ignore[assignment]
    began = time.monotonic()

    outcome = apprise.send(f"ntfy://127.0.0.1:{server.port}/topic", title="t", body="b", kind="info", seconds=4)

    assert not outcome.is_ok
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("target", ["169.254.169.254", "[fe80::1]", "0.0.0.0", "[::ffff:169.254.169.254]"])
def test_a_url_with_a_refused_address_is_refused_before_anything_is_sent(target: str) -> None:
    assert apprise.read(f"ntfy://{target}/topic").problem
    assert not apprise.send(f"ntfy://{target}/topic", title="t", body="b", kind="info").is_ok


def test_a_name_that_leads_to_a_refused_address_is_stopped_where_the_socket_connects() -> None:
    """2852039166 is 169.254.169.254, as a name that no check of the text knows."""
    outcome = apprise.send("ntfy://2852039166/topic", title="t", body="b", kind="info")

    assert not outcome.is_ok
    assert "169.254.169.254" in outcome.reason
    outcome = apprise.send("mailto://2852039166?from=a@b.net&to=c@d.net", title="t", body="b", kind="info")
    assert "169.254.169.254" in outcome.reason


@pytest.mark.parametrize(
    "url",
    ["syslog://", "rsyslog://127.0.0.1", "dbus://", "gnome://", "macosx://", "windows://", "blink1://", "glib://",
     "kde://", "qt://", "json://127.0.0.1", "xml://127.0.0.1", "form://127.0.0.1", "vapid://x", "fcm://a@b/c",
     "https://example.net/", "file:///etc/passwd", "nonsense", "",
     "ntfy://127.0.0.1/t?redirect=yes", "ntfy://127.0.0.1/t?Redirect=yes",
     "ntfy://127.0.0.1/t?a=b;redirect=yes", "ntfy://127.0.0.1/t?%20redirect=yes", "ntfy://127.0.0.1/t#?redirect=yes",
     "ntfy://127.0.0.1/t?a=b;attach=/etc/passwd", "ntfy://127.0.0.1/t?a=b&%74emplate=/etc/passwd",
     "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?template=/etc/passwd", "ntfy://127.0.0.1/a b"],
)  # fmt: skip
def test_what_runs_programs_touches_files_or_goes_elsewhere_is_refused(url: str) -> None:
    assert apprise.read(url).problem
    assert not apprise.send(url, title="t", body="b", kind="info").is_ok


def test_a_file_of_the_server_that_a_url_names_is_not_read(mailbox: Mailbox, tmp_path: Path) -> None:
    key = tmp_path / "key.asc"
    key.write_text("-----BEGIN PGP PUBLIC KEY BLOCK-----\nprivate things\n")

    outcome = apprise.send(mail(mailbox, f"&pgp=yes&pgppub={key}"), title="t", body="b", kind="info")

    assert not outcome.is_ok
    assert mailbox.messages == []
    assert "private things" not in outcome.reason


def test_the_process_that_sends_gets_nothing_of_the_servers_environment(
    server: HttpServer, other_server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", other_server.url)
    monkeypatch.setenv("RM_SETUP_TOKEN", "of-the-server")

    assert apprise.send(f"ntfy://127.0.0.1:{server.port}/topic", title="t", body="b", kind="info").is_ok

    assert (len(server.requests), len(other_server.requests)) == (1, 0)
    assert "http_proxy" in os.environ


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ntfys://user:hunter2@ntfy.example.net/topic", "ntfys://ntfy.example.net/…"),
        ("ntfy://topic-known-to-few", "ntfy://…"),
        ("tgram://123456789:abcdefg_hijklmnop/12315544", "tgram://…"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#backups", "slack://…"),
        ("matrixs://user:hunter2@matrix.example.net/#room", "matrixs://matrix.example.net/…"),
        ("mailtos://user:hunter2@mail.example.net?from=a@b.net&to=c@d.net", "mailtos://mail.example.net/…"),
        ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "discord://…"),
    ],
)
def test_of_a_url_only_service_and_host_are_shown(url: str, shown: str) -> None:
    reading = apprise.read(url)

    assert (reading.problem, reading.shown) == ("", shown)


def text_of(message: object) -> str:
    parts = [part for part in message.walk() if part.get_content_maintype() == "text"]  # type: ignore[attr-defined]
    return "\n".join(part.get_payload(decode=True).decode() for part in parts)
