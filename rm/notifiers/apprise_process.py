"""The process that knows Apprise: reads one order as JSON, carries it out confined, answers as JSON.

A process of its own, so that a service that hangs can be ended, and so that what a URL may make a plugin do is
limited by rules that the server itself could not live with.
"""

import json
import logging
import os
import re
import sys
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from rm.domain import addresses
from rm.notifiers.confinement import NotAllowed, confine

REFUSED_OPTIONS = {
    "redirect": "Leave redirect= out: redirects are never followed.",
    "template": "Leave template= out: files of this server are not sent.",
    "attach": "Leave attach= out: files of this server are not sent.",
}
SERVICE_SECONDS = 40
# What requests wraps in three layers of its own: the operating system's words, or the one thing that went wrong.
_CAUSE = re.compile(r"\[Errno -?\d+\] ([^\"')\]]+)|(timed out)|(certificate verify failed[^()]*)", re.IGNORECASE)
_ORDER_LIMIT = 64 * 1024


def main() -> None:
    """One order from standard input, one answer to standard output; the environment holds nothing of the server."""
    order = json.loads(sys.stdin.buffer.read(_ORDER_LIMIT))
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Whatever a library prints must not be taken for the answer.
    os.dup2(2, 1)
    try:
        answer = carry_out(order)
    except NotAllowed as error:
        answer = {"is_ok": False, "reason": str(error)}
    except Exception as error:  # noqa: BLE001 - the plugin's code; the caller gets its kind, never its text
        answer = {"is_ok": False, "reason": f"Apprise failed with {type(error).__name__}."}
    out.write(json.dumps(answer))
    out.flush()
    # Threads that a plugin left behind do not keep the process.
    os._exit(0)


def carry_out(order: dict[str, Any]) -> dict[str, Any]:
    import apprise
    from apprise import Apprise, AppriseAsset

    heard: list[str] = []
    refused: list[str] = []
    certificates = tuple(os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ)
    asset = AppriseAsset(
        app_id="restic-manager", app_desc="restic-manager", app_url="", image_url_mask=None, image_url_logo=None,
        http_redirects=False, storage_mode="memory", secure_logging=True, pgp_autogen=False, pem_autogen=False,
        service_timeout=SERVICE_SECONDS, allow_templates=False, language="en",
    )  # fmt: skip
    _listen(heard)
    confine(tell=refused.append, readable=certificates)
    url = order["url"]
    option = next((name for name in _options(url) if name in REFUSED_OPTIONS), None)
    if option:
        return {"is_ok": False, "reason": REFUSED_OPTIONS[option]}
    found = Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    # What the plugin took from the URL counts, however it was written there.
    if getattr(found, "redirects", False):
        return {"is_ok": False, "reason": REFUSED_OPTIONS["redirect"]}
    if refused or found is None or not isinstance(found, apprise.NotifyBase):
        return {"is_ok": False, "reason": [*refused, *(_scrubbed(text, url) for text in heard), UNREADABLE][0]}
    host = str(getattr(found, "host", "") or "")
    literal = addresses.literal(host) if host else None
    problem = addresses.problem(literal) if literal else None
    if problem:
        return {"is_ok": False, "reason": f"{host} {problem}."}
    service = str(found.service_name)
    if order["do"] == "read":
        return {"is_ok": True, "service": service, "host": _shown_host(found, host)}
    heard.clear()
    is_ok = bool(
        found.notify(
            body=order["body"], title=order["title"], notify_type=apprise.NotifyType(order["type"]),
            body_format=apprise.NotifyFormat.TEXT,
        )
    )  # fmt: skip
    if refused:
        return {"is_ok": False, "reason": refused[0]}
    if is_ok:
        return {"is_ok": True}
    return {"is_ok": False, "reason": _scrubbed("; ".join(dict.fromkeys(heard)), url) or f"{service} did not take it."}


def _options(url: str) -> list[str]:
    """The names of all options, as Apprise takes them: also after a semicolon, a second ? or a #, and with spaces."""
    found = [piece.partition("=") for piece in re.split("[?&;#]", url)[1:]]
    return [unquote(name.replace("+", " ")).strip().lower() for name, is_set, _ in found if is_set]


UNREADABLE = "Apprise cannot read this URL. Compare it with the examples."


def _shown_host(found: Any, host: str) -> str:
    """The host if it surely is one: what stands there for other services is a token, or a topic that only you know."""
    names_host = any("{host}" in template for template in found.templates)
    looks_like_host = "." in host or ":" in host or host == "localhost" or bool(getattr(found, "port", None))
    return host if names_host and looks_like_host else ""


class _Hearing(logging.Handler):
    def __init__(self, heard: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            self._heard.append(text.rstrip(". "))
        elif text.startswith("Socket Exception"):
            cause = _CAUSE.search(text)
            # Never the library's own sentence: it quotes what was to be sent, as it was to be sent.
            self._heard.append(next(filter(None, cause.groups())) if cause else "the call failed")


def _listen(heard: list[str]) -> None:
    logger = logging.getLogger("apprise")
    logger.handlers = [_Hearing(heard)]
    logger.propagate = False
    logger.setLevel(logging.DEBUG)


def _scrubbed(text: str, url: str) -> str:
    """A plugin's own words without any part of the URL that could be a secret."""
    try:
        parts = urlsplit(url)
        pieces = [parts.username, parts.password, parts.netloc.rpartition("@")[2].partition(":")[0], parts.fragment]
        pieces += [*parts.path.split("/"), *(value for _, value in parse_qsl(parts.query)), *parts.netloc.split("@")]
    except ValueError:
        return ""
    pieces += [word for piece in pieces if piece for word in re.split(r"[:/@]", piece)]
    known = {piece for piece in pieces if piece and len(piece) > 3}
    known |= {unquote(piece) for piece in known}
    known |= {written for piece in known for written in (quote(piece, safe=""), quote(piece), repr(piece)[1:-1])}
    for piece in sorted(known, key=len, reverse=True):
        text = text.replace(piece, "…")
    return text[:1000]


if __name__ == "__main__":
    main()
