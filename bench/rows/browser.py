"""From a host's report to the row that moves, in a real browser."""

import random
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from bench import seed
from bench.figures import Row, Target, quantiles
from bench.stage import COOKIE, BenchFailed, Load, Server, loading, serving

# pauses that fall anywhere into the quarter of a second between two flushes
SHORTEST, LONGEST = 0.02, 0.4
SEED = 20
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")

NOTE_CHANGES = """
() => {
  window.changes = [];
  const note = (records) => {
    const at = Date.now();
    for (const record of records) {
      const element = record.target.nodeType === 1 ? record.target : record.target.parentElement;
      const row = element && element.closest('tr[id^="host-"]');
      if (row) window.changes.push([row.id.slice(5), at]);
    }
  };
  new MutationObserver(note).observe(document.body,
    { subtree: true, childList: true, characterData: true, attributes: true });
}
"""

ALL_CHANGED = """
(sent) => Object.keys(sent).every(
  (id) => window.changes.some(([host, at]) => host === id && at + 1 >= sent[id]))
"""
DRAWN_WITHIN_MS = 10_000


def measure(directory: Path, *, hosts: int) -> Row:
    """Milliseconds from a report to the changed row; the ceiling reads the same stream without a browser."""
    row = Row(
        "browser",
        f"report to row in Chromium, {hosts} reports of each kind",
        "a raw reader of the same kind of stream, at the same time",
    )
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise BenchFailed("Chromium is not installed (scripts/system-packages browser)")
    with (
        serving(directory, hosts=hosts, job_state="queued") as (server, fleet),
        loading(directory) as load,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-background-networking"]
        )
        try:
            load.connect(server.socket_url, fleet)
            page = _open(browser.new_context(), server)
            load.ask("watch", browsers=1, port=server.port, path="/live/fleet", cookie=COOKIE, watching=1)
            for kind, words in (("started", "job started"), ("progress", "progress")):
                delays, raw = _delays(page, load, fleet, kind)
                found = quantiles(delays)
                row.add(f"{words}, p50", found["p50"], "ms", ceiling=raw["p50"])
                row.add(f"{words}, p95", found["p95"], "ms", ceiling=raw["p95"], target=Target(300))
            load.ask("close")
        finally:
            browser.close()
    return row


def _open(context: Any, server: Server) -> Page:
    context.add_cookies([{"name": "rm_session", "value": seed.SESSION, "url": server.url}])
    page: Page = context.new_page()
    with page.expect_request(lambda request: "/live/fleet" in request.url):
        page.goto(server.url)
    page.wait_for_timeout(1500)
    page.evaluate(NOTE_CHANGES)
    return page


def _delays(page: Page, load: Load, fleet: list[seed.SeededHost], kind: str) -> tuple[list[float], dict[str, float]]:
    chance = random.Random(SEED)
    page.evaluate("() => { window.changes.length = 0; }")
    answer = load.ask("report", gaps=[chance.uniform(SHORTEST, LONGEST) for _ in fleet], kind=kind)
    # The raw reader has it all; the browser may still be drawing.
    with suppress(PlaywrightTimeout):
        page.wait_for_function(ALL_CHANGED, arg=answer["sent"], timeout=DRAWN_WITHIN_MS)
    first: dict[str, float] = {}
    for host_id, at in page.evaluate("() => window.changes"):
        # the browser's clock gives whole milliseconds
        if host_id in answer["sent"] and at + 1 >= answer["sent"][host_id]:
            first.setdefault(host_id, at)
    if len(first) < len(fleet):
        raise BenchFailed(f"only {len(first)} of {len(fleet)} rows changed on the page after {kind}")
    return [max(0.0, first[host_id] - sent) for host_id, sent in answer["sent"].items()], answer["ms"]
