"""The audit log, as people read it."""

from itertools import groupby
from urllib.parse import quote

from flask import Blueprint, Response, request

from rm.domain.permissions import allows
from rm.shared.words import counted
from rm.store import audit
from rm.store.models import AuditEntry
from rm.web.layout import page

blueprint = Blueprint("audit", __name__)

PAGE_SIZE = 50
WORDS = {
    "user.created": "made the account",
    "user.logged_in": "signed in",
    "user.logged_out": "signed out",
    "user.login_failed": "was refused: wrong name or password",
    "enrolment_token.minted": "made an enrolment token",
    "enrolment_token.revoked": "revoked an enrolment token",
    "host.enrolled": "enrolled",
    "host.announced": "announced itself:",
    "pending_host.approved": "approved the announced host",
    "pending_host.rejected": "rejected the announced host",
    "announcing.switched": "switched announcing",
    "host.reenrolled": "was enrolled again",
    "host.credential_renewed": "ordered a new credential for",
    "host.old_credential_ended": "ended the old credential of",
    "alert.acknowledged": "acknowledged the alert",
    "alert.resolved": "resolved the alert",
    "host.connected_first": "connected for the first time:",
    "host.config_refused": "could not take its settings:",
    "host.renamed": "renamed a host to",
    "host.tagged": "changed the tags of",
    "host.mode_set": "changed the mode of",
    "host.revoked": "revoked the credential of",
    "host.removed": "removed the host",
    "repository.created": "made the repository",
    "repository.changed": "changed the repository",
    "repository.assigned": "assigned the repository",
    "repository.tested": "had the repository tested",
    "repository.unassigned": "took a host's repository away:",
    "repository.maintenance_set": "set who may delete in",
    "repository.identity_accepted": "accepted another repository as",
    "source_group.created": "made the source group",
    "source_group.changed": "changed the source group",
    "source_group.removed": "removed the source group",
    "job.ordered": "ordered",
    "job.cancel_requested": "cancelled",
    "job.corrected": "corrected the result of",
}


@blueprint.get("/audit")
@allows("audit.view")
def index() -> Response:
    """The newest entries first, by day."""
    q = request.args.get("q", "").strip()[:200]
    before = request.args.get("before", "")
    before_id = int(before) if before.isdecimal() and len(before) < 16 else None
    found = audit.list_page(q=q, before_id=before_id, limit=PAGE_SIZE + 1)
    shown = found[:PAGE_SIZE]
    days = [(day, list(entries)) for day, entries in groupby(shown, key=_day)]
    total = audit.count()
    from_q = f"q={quote(q)}&" if q else ""
    pager = {
        "said": f"{len(shown)} of {counted(total, 'entry', 'entries')}",
        "previous": f"/audit?{from_q}".rstrip("?&") if before_id is not None else "",
        "previous_word": "Newest",
        "next": f"/audit?{from_q}before={shown[-1].id}" if len(found) > PAGE_SIZE else "",
        "next_word": "Older",
    }
    return page("audit/list.html", section="audit", q=q, days=days, pager=pager, said=said)


def said(entry: AuditEntry) -> str:
    """What was done, in words; an action without words shows its name."""
    return WORDS.get(entry.action) or str(entry.action).replace(".", " ").replace("_", " ")


def _day(entry: AuditEntry) -> str:
    day: str = entry.at.strftime("%A, %-d %B %Y")
    return day
