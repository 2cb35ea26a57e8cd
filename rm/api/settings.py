"""The settings of the server for programs: general, alerts, disk, history, metrics."""

from dataclasses import asdict, replace
from typing import Any

from flask import Blueprint

from rm.api import caller, documents
from rm.api.operations import operation
from rm.api.shapes import TEXT, record, ref
from rm.domain.permissions import allows
from rm.runtime import runtime
from rm.services import alert_settings, base_url_check, disk_space, general_settings, metrics_access, pruning
from rm.services.alert_settings import RulesForm

routes = Blueprint("api_settings", __name__, url_prefix="/api/v1/settings")


@routes.get("/general")
@allows("settings.view")
@operation({200: ref("GeneralSettings")})
def general() -> dict[str, Any]:
    """The server's name, how long a sign-in lasts, when backups are late, what new groups and schedules begin with."""
    return asdict(general_settings.current())


@routes.put("/general")
@allows("settings.edit")
@operation({200: ref("GeneralSettings")}, body=ref("GeneralChange"))
def save_general() -> dict[str, Any]:
    """Change them, with effect at once; what the body does not name stays as it is."""
    parts, body = runtime(), documents.body()
    found = general_settings.current()
    given: dict[str, Any] = {
        name: documents.whole(body, name, 0) if isinstance(value, int) else documents.text(body, name)
        for name, value in asdict(found).items() if name in body and name != "late_factor"
    }  # fmt: skip
    if "late_factor" in body:
        given["late_factor"] = float(body["late_factor"])
    general_settings.save(parts.bus, wanted=replace(found, **given), actor=caller.actor(), now=parts.clock())
    return general()


@routes.post("/general/check-base-url")
@allows("settings.edit")
@operation({200: record("*", kind=TEXT, text=TEXT)}, waits=True, fails_clean=True)
def check_base_url() -> dict[str, Any]:
    """Ask whether the base URL leads to this server; waits for the answer for some seconds."""
    caller.spend_call()
    return asdict(base_url_check.check(runtime().settings.base_url))


@routes.get("/alerts")
@allows("settings.view")
@operation({200: ref("AlertRules")})
def alerts() -> dict[str, Any]:
    """How patient the server is with each kind of alert, and with hosts that have certain tags."""
    return _rules(alert_settings.form_of(alert_settings.rules()))


@routes.put("/alerts")
@allows("settings.edit")
@operation({200: ref("AlertRules")}, body=ref("AlertRulesChange"))
def save_alerts() -> dict[str, Any]:
    """Change them; kinds that are not named stay as they are, `by_tag` replaces all exceptions."""
    parts, body = runtime(), documents.body()
    found = alert_settings.form_of(alert_settings.rules())
    by_tag = found.by_tag
    if "by_tag" in body:
        by_tag = [(one["tag"], one["kind"], one["patience"]) for one in documents.objects(body, "by_tag", 200)]
    form = RulesForm(found.patience | body.get("patience", {}), found.hold | body.get("hold", {}), by_tag)
    alert_settings.save(parts.bus, form=form, actor=caller.actor(), now=parts.clock())
    return alerts()


@routes.get("/disk-limits")
@allows("server.care")
@operation({200: ref("DiskLimits")})
def disk_limits() -> dict[str, Any]:
    """Below which free space log lines, and below which new orders are refused."""
    return asdict(disk_space.limits())


@routes.put("/disk-limits")
@allows("server.care")
@operation({200: ref("DiskLimits")}, body=ref("DiskLimitsChange"))
def save_disk_limits() -> dict[str, Any]:
    """Change them; what the body does not name stays as it is."""
    parts, body = runtime(), documents.body()
    found = disk_space.limits()
    given = {name: documents.whole(body, name, 0) for name in asdict(found) if name in body}
    disk_space.save_limits(parts.bus, wanted=replace(found, **given), actor=caller.actor(), now=parts.clock())
    disk_space.look(parts.bus, data_dir=parts.settings.data_dir, now=parts.clock())
    return disk_limits()


@routes.get("/history-limits")
@allows("server.care")
@operation({200: ref("HistoryLimits")})
def history_limits() -> dict[str, Any]:
    """For how many days each kind of history is kept."""
    return dict(pruning.limits())


@routes.put("/history-limits")
@allows("server.care")
@operation({200: ref("HistoryLimits")}, body=ref("HistoryLimits"))
def save_history_limits() -> dict[str, Any]:
    """Change them; what the body does not name stays as it is."""
    parts, body = runtime(), documents.body()
    wanted = pruning.limits() | {name: documents.whole(body, name, 0) for name in body}
    pruning.save_limits(parts.bus, wanted=wanted, actor=caller.actor(), now=parts.clock())
    return history_limits()


@routes.post("/metrics-token")
@allows("settings.edit")
@operation({201: record("*", token=TEXT)})
def make_metrics_token() -> tuple[dict[str, Any], int]:
    """A token for scraping /metrics, shown this once; the one that was made here before ends."""
    return {"token": metrics_access.make_token(actor=caller.actor(), now=runtime().clock())}, 201


@routes.delete("/metrics-token")
@allows("settings.edit")
@operation({204: ""})
def end_metrics_token() -> tuple[str, int]:
    """End the token that was made here."""
    metrics_access.end_token(actor=caller.actor(), now=runtime().clock())
    return "", 204


def _rules(form: RulesForm) -> dict[str, Any]:
    return {
        "patience": form.patience,
        "hold": form.hold,
        "by_tag": [{"tag": tag, "kind": kind, "patience": span} for tag, kind, span in form.by_tag],
    }
