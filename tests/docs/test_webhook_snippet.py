"""docs/operations/notifications.md shows how a receiver checks a webhook; what it shows is run here."""

import json
import re
import time
from pathlib import Path

from rm.domain import notices
from rm.domain.notices import Notice
from rm.notifiers import apprise, webhook
from tests.notifiers.servers import http_server

PAGE = (Path(__file__).parents[2] / "docs" / "operations" / "notifications.md").read_text(encoding="utf-8")


def documented_check():
    found: dict = {}
    exec(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], found)
    return found["is_genuine"]


def test_the_documented_check_takes_what_is_sent_and_nothing_else():
    is_genuine = documented_check()
    with http_server() as server:
        webhook.send(
            server.url, secret="whsec_x", delivery_id="01D", event="test", timestamp=int(time.time()), body=b'{"a": 1}'
        )
    [request] = server.requests

    assert is_genuine(request.headers, request.body, "whsec_x")
    assert not is_genuine(request.headers, request.body, "whsec_y")
    assert not is_genuine(request.headers, request.body + b" ", "whsec_x")
    assert not is_genuine(request.headers | {"Restic-Manager-Delivery": "01E"}, request.body, "whsec_x")
    old = request.headers | {"Restic-Manager-Timestamp": str(int(time.time()) - 3600)}
    assert not is_genuine(old, request.body, "whsec_x")


def test_the_documented_body_has_the_fields_of_the_real_one():
    shown = json.loads(re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)[1])

    sent = notices.as_json(Notice(event="raised", severity="critical", title="t", incident_id="x"), delivery_id="d")

    assert list(shown) == list(sent)
    assert list(shown["hosts"]) == list(sent["hosts"])
    assert list(shown["incident"]) == list(sent["incident"])


def test_every_documented_url_is_one_that_may_be_used():
    urls = re.findall(r"`((?:mailtos?|ntfys?|tgram|slack|matrixs)://[^`]+)`", PAGE)

    assert len(urls) >= 7
    assert [url for url in urls if apprise.url_problem(url)] == []
