"""Parts of pages that are sent to open tabs: rendered with the templates of the page itself."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flask import Flask
from markupsafe import Markup


@dataclass(frozen=True)
class Fragment:
    """One part of a page: where it goes, how it is put there, and its HTML."""

    target: str
    html: str
    swap: str = "outerMorph"


def render(app: Flask, template: str, values: dict[str, Any], *, target: str, swap: str = "outerMorph") -> Fragment:
    """A fragment from a template that gets these values and nothing else: no request, no user."""
    # What a template makes is safe to be put into another one.
    return Fragment(target=target, html=Markup(app.jinja_env.get_template(template).render(values)), swap=swap)  # noqa: S704


def message(fragments: Iterable[Fragment], *, id: str = "") -> str:
    """The server-sent event that carries the fragments; empty for none."""
    parts = [
        f'<hx-partial hx-target="{fragment.target}" hx-swap="{fragment.swap}">{fragment.html.strip()}</hx-partial>'
        for fragment in fragments
    ]
    if not parts:
        return ""
    data = "".join(f"data: {line}\n" for part in parts for line in part.splitlines() if line.strip())
    return (f"id: {id}\n" if id else "") + data + "\n"


class Sent:
    """What one tab has been sent already; only what differs is sent again."""

    def __init__(self) -> None:
        self._digests: dict[str, bytes] = {}

    def news(self, fragments: Iterable[Fragment]) -> list[Fragment]:
        """Those fragments that the tab does not show yet; appended ones are always new."""
        fresh = []
        for fragment in fragments:
            digest = hashlib.blake2b(fragment.html.encode("utf-8", "replace"), digest_size=12).digest()
            if fragment.swap != "outerMorph":
                fresh.append(fragment)
            elif self._digests.get(fragment.target) != digest:
                self._digests[fragment.target] = digest
                fresh.append(fragment)
        return fresh
