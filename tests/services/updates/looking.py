"""What the tests of updates look at and set up."""

from rm.store import updates as stored
from rm.store.models import Alert, AuditEntry


def alert():
    return Alert.get_or_none(Alert.kind == "update_failed")


def texts(attempt):
    return [event.text for event in stored.events(attempt.job_id)]


def actions():
    return [entry.action for entry in AuditEntry.select().order_by(AuditEntry.id) if entry.action.startswith("update.")]
