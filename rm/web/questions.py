"""A question before an action: a dialog where the browser can, otherwise a page that asks the same."""

from dataclasses import dataclass, field, replace
from typing import Any

from flask import Response

from rm.web.layout import page


@dataclass(frozen=True)
class Question:
    """What is asked; `ask` is what the macro `confirm` takes besides."""

    id: str
    title: str
    action: str
    verb: str
    points: tuple[str, ...]
    typed: str = ""
    ask: dict[str, Any] = field(default_factory=dict)

    def asked_as_page(self, *, section: str, back: str, fields: dict[str, str], values: Any, status: int) -> Response:
        """The page, with what was typed and what is wrong with it."""
        found = replace(self, ask=self.ask | {
            "reason_value": values.get("reason", ""), "reason_error": fields.get("reason", ""),
            "chosen": values.get("mode", self.ask.get("chosen", "")),
        })  # fmt: skip
        return page(
            "shared/confirm.html", status=status, section=section, title=found.title, action=found.action,
            verb=found.verb, points=found.points, typed=found.typed, error=fields.get("typed_name", ""), ask=found.ask,
            back=back,
        )  # fmt: skip
