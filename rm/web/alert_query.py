"""Which incidents a list shows, as its address says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from rm.domain.alerts import KINDS, SEVERITIES
from rm.store.incidents import STATES, Wanted


@dataclass(frozen=True)
class Query:
    """Which incidents a tab of the browser shows."""

    state: str = "open"
    severity: str = ""
    kind: str = ""
    host: str = ""
    tag: str = ""
    q: str = ""
    page: int = 1

    def url(self, path: str = "/alerts", **changes: Any) -> str:
        """The address of this list with some of it changed."""
        text = self.text(**changes)
        return f"{path}?{text}" if text else path

    def text(self, **changes: Any) -> str:
        values = vars(self) | changes
        return urlencode({name: value for name, value in values.items() if value not in ("", 1, "open")})

    @property
    def is_narrowed(self) -> bool:
        return bool(self.severity or self.kind or self.host or self.tag or self.q)

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.state, self.severity, self.kind, self.host, self.tag, self.q)


def asked_for(args: Mapping[str, str]) -> Query:
    """The query of an address; what makes no sense counts as not said."""
    page = args.get("page", "1")
    state, severity, kind = args.get("state", ""), args.get("severity", ""), args.get("kind", "")
    return Query(
        state=state if state in STATES else "open",
        severity=severity if severity in SEVERITIES else "",
        kind=kind if kind in KINDS else "",
        host=args.get("host", "")[:64],
        tag=args.get("tag", "").strip()[:50],
        q=args.get("q", "").strip()[:200],
        page=max(1, int(page)) if page.isdecimal() and len(page) < 5 else 1,
    )


def asked_for_in(text: str) -> Query:
    """The same from what follows the question mark of an address."""
    return asked_for(dict(parse_qsl(text[:1000])))
