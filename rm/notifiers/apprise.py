"""Mail, ntfy, Telegram and the like: a URL in Apprise's notation, carried out by a process of its own."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rm.notifiers.outcome import OK, Outcome, failed

URL_LIMIT = 2000
SECONDS = 50
READ_SECONDS = 30

# What carries a message to people over a network. Not here: what runs programs or touches this machine (syslog,
# dbus, desktop popups, serial devices), what posts anything anywhere (json://: the webhook does that, signed),
# and what needs files of this server.
SERVICES = frozenset(
    """
    mailto mailtos ntfy ntfys tgram slack discord matrix matrixs gotify gotifys pover pbul msteams workflow
    workflows gchat mmost mmosts rocket rockets zulip wxteams webex signal signals threema line mailgun sendgrid
    smtp2go sparkpost postmark resend brevo mailersend ses o365 azure opsgenie pagerduty pagertree splunk
    victorops squadcast signl4 betterstack ilert incidentio goalert hassio hassios nctalk nctalks ncloud nclouds
    synology synologys twilio vonage nexmo clicksend seven smseagle smseagles messagebird bark barks prowl join
    simplepush spush pushme pushdeer pushdeers techulus mastodon mastodons toot toots revolt guilded flock ryver
    twist lark feishu dingtalk wecombot schan pushplus wxpusher apprise apprises mqtt mqtts ifttt xmpp xmpps
    whatsapp zoom
    """.split()  # noqa: SIM905 - seventy names read better without quotes
)
_ROOT = str(Path(__file__).parents[2])
_START = f"import sys; sys.path.insert(0, {_ROOT!r}); from rm.notifiers.apprise_process import main; main()"
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


@dataclass(frozen=True)
class Reading:
    """What a URL is: its service by name and what may be shown of it; or the problem that it has."""

    problem: str = ""
    service: str = ""
    shown: str = ""


def url_problem(url: str) -> str | None:
    """What can be said against a URL without asking Apprise."""
    if len(url) > URL_LIMIT or not url.isprintable() or " " in url:
        return f"Use one URL of at most {URL_LIMIT} printable characters without spaces."
    schema = schema_of(url)
    if schema is None:
        return "A URL of Apprise begins with the name of a service, for example ntfys:// or mailtos://."
    if schema in ("http", "https"):
        return "Choose “JSON webhook” for a URL that begins with http:// or https://."
    if schema not in SERVICES:
        return f"{schema[:20]}:// is none of the services that may be used here; the documentation lists them."
    return None


def schema_of(url: str) -> str | None:
    found = re.match(r"([a-z0-9]{2,20})://", url, re.IGNORECASE)
    return found[1].lower() if found else None


def read(url: str, *, seconds: float = READ_SECONDS) -> Reading:
    """What Apprise makes of a URL; nothing is sent. Takes about a second."""
    problem = url_problem(url)
    if problem:
        return Reading(problem=problem)
    answer = _ask({"do": "read", "url": url}, seconds)
    if not answer.get("is_ok"):
        return Reading(problem=failed(str(answer.get("reason", ""))).reason)
    host = answer.get("host") or ""
    shown = f"{schema_of(url)}://{host}/…" if host else f"{schema_of(url)}://…"
    return Reading(service=str(answer.get("service", "")), shown=shown)


def send(url: str, *, title: str, body: str, kind: str, seconds: float = SECONDS) -> Outcome:
    """Send one message; `kind` is info, success, warning or failure. Ends after `seconds` whatever the service does."""
    problem = url_problem(url)
    if problem:
        return failed(problem)
    answer = _ask({"do": "send", "url": url, "title": title, "body": body, "type": kind}, seconds)
    return OK if answer.get("is_ok") else failed(str(answer.get("reason", "")) or "it was not taken")


def _ask(order: dict[str, str], seconds: float) -> dict[str, Any]:
    """Start the process, hand it the order, wait for the answer; it is killed when it takes too long."""
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | {"HOME": "/nonexistent"}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-B", "-c", _START],
            input=json.dumps(order).encode(), capture_output=True, timeout=seconds, check=False,
            env=environment, cwd="/",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"reason": f"there was no end to it within {seconds:g} s"}
    except OSError as error:
        return {"reason": f"the process for it could not be started: {error.strerror}"}
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        return {"reason": f"the process for it ended with {done.returncode} and no answer"}
    return answer if isinstance(answer, dict) else {}
