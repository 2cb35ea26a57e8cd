"""What every page gets: who asks, the lamps in the bar, the message after an action."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app, g, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from rm.config import LOOPBACK
from rm.runtime import runtime
from rm.services import general_settings
from rm.store import incidents
from rm.web import assets, context, drawings, fleet_summary, security, settings_tabs

FLASH_COOKIE = "rm_flash"
FLASHES = {
    "enrolment_token_revoked": (
        "ok",
        "The token is revoked. It lets nobody in; hosts that came with it stay.",
    ),
    "release_promoted": ("ok", "It is the current release now. Hosts are updated when you order it, not before."),
    "update_ordered": ("ok", "The update is ordered. The card below shows how it goes."),
    "rollback_ordered": ("ok", "The rollback is ordered. The card below shows how it goes."),
    "host_held": ("ok", "The host is held: it is not updated until it is released."),
    "host_released": ("ok", "The host is released: it can be updated again."),
    "fleet_started": ("ok", "The fleet update has started."),
    "fleet_paused": ("ok", "Paused. What has begun to swap finishes; nothing new starts."),
    "fleet_resumed": ("ok", "Resumed."),
    "fleet_cancelled": ("ok", "The fleet update is being cancelled."),
    "fleet_closed": ("ok", "Closed. Hosts that were offline keep the agent that they run."),
    "fleet_retried": ("ok", "The failed hosts are tried again."),
    "fleet_skipped": ("ok", "Skipped; the fleet update goes on without it."),
    "fleet_rolling_back": ("ok", "The updated hosts are rolled back, one at a time, the newest first."),
    "metrics_token_made": ("ok", "The token is made; it is shown below, this once."),
    "metrics_token_ended": ("ok", "The token is ended."),
    "channel_saved": ("ok", "The channel is saved. Send a test through it."),
    "channel_removed": ("ok", "The channel was removed."),
    "channel_test_arrived": ("ok", "The test was taken. Look whether it is where people see it."),
    "channel_test_failed": ("failed", "The test was not taken; the delivery log below has the reason."),
    "delivery_retried": ("ok", "It is tried again within seconds."),
    "dead_man_saved": ("ok", "The sign of life is saved; the first call goes out within half a minute."),
    "dead_man_answered": ("ok", "The call was answered."),
    "dead_man_failed": ("failed", "The call was not answered as it should be; the reason is shown with it."),
    "dead_man_removed": ("ok", "No sign of life is sent any more."),
    "settings_saved": ("ok", "Saved. It has effect from now on."),
    "server_backup_started": ("ok", "A backup is being made. It is listed below once it was verified."),
    "signed_out": ("ok", "You are signed out."),
    "host_saved": ("ok", "Saved."),
    "host_revoked": ("ok", "The credential is revoked. The host can no longer connect; an open connection was closed."),
    "host_removed": ("ok", "The host was removed. Its snapshots stay in the repository."),
    "repository_saved": ("ok", "The repository is saved. The host gets its password as soon as it is connected."),
    "repository_kept": ("ok", "The repository is kept here. Let a host use it, then test it from there."),
    "maintenance_saved": ("ok", "The plan is saved."),
    "maintenance_ordered": ("ok", "Ordered: one job for each source group. They run one after the other."),
    "repository_accepted": ("ok", "Accepted. Jobs write to it again."),
    "test_ok": ("ok", "The host opened the repository."),
    "test_failed": ("failed", "The host could not open the repository; the reason is shown with it."),
    "source_saved": ("ok", "The source group is saved."),
    "schedule_saved": ("ok", "The schedule is saved. The host takes it over as soon as it is connected."),
    "schedule_removed": ("ok", "The schedule was removed. Nothing that ran is lost."),
    "schedule_enabled": ("ok", "The schedule is switched on."),
    "schedule_disabled": ("ok", "The schedule is switched off."),
    "template_saved": ("ok", "The template is saved. Hosts stay as they are until it is applied to them."),
    "template_removed": ("ok", "The template was removed. What was made from it stays on its hosts."),
    "template_applied": ("ok", "Applied. The hosts take it over as soon as they are connected."),
    "source_removed": ("ok", "The source group was removed. Its snapshots stay in the repository."),
    "cancel_asked": ("ok", "The job is being cancelled."),
    "token_gone": ("warning", "The token could not be shown. Make a new one."),
    "role_set": ("ok", "The role is saved. It counts from now on."),
    "link_withdrawn": ("ok", "The link is withdrawn; it opens nothing any more."),
    "user_disabled": ("ok", "The account is disabled. Its sessions were ended."),
    "user_enabled": ("ok", "The account is enabled again."),
    "user_removed": ("ok", "The account was removed. What it did stays in the audit log."),
    "second_factor_reset": ("ok", "The second factor is gone. The password alone signs in until another is set up."),
    "second_factor_off": ("ok", "The second factor is off."),
    "password_changed": ("ok", "The password is changed. Your other sessions were ended."),
    "session_revoked": ("ok", "That session was ended."),
    "sessions_revoked": ("ok", "Your other sessions were ended."),
    "welcome": ("ok", "Your account is ready."),
    "pending_approved": ("ok", "Approved. The machine comes in by itself, usually within seconds."),
    "pending_rejected": ("ok", "Rejected. The machine is told so and gives up."),
    "announcing_on": ("ok", "Hosts may announce themselves now."),
    "announcing_off": ("ok", "Hosts need a token now; those that wait already may still be decided."),
    "alert_acknowledged": ("ok", "Acknowledged. It stays open until it is resolved."),
    "alert_resolved": ("ok", "Resolved. If it happens again, a new alert is raised."),
    "alert_snoozed": ("ok", "Snoozed. It asks for nobody until then, unless it gets worse."),
    "alert_woken": ("ok", "Woken: it asks for somebody again."),
    "alert_rules_saved": ("ok", "The rules are saved, and hold from now on."),
    "token_revoked": ("ok", "The token is revoked. Programs that used it are refused from now on."),
    "credential_renewed": ("ok", "A new credential is on its way; until the host uses it, the present one works."),
}


def register(app: Flask) -> None:
    """Give templates their globals, pages their context, and static files an address that changes with them."""
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(
        spark_path=drawings.spark_path,
        strip_days=drawings.strip_days,
        strip_trace=drawings.strip_trace,
        strip_summary=drawings.strip_summary,
        strip_scale=drawings.strip_scale,
    )
    assets.register(app)
    fleet_summary.register(app, runtime(app).bus)
    app.context_processor(page_context)
    app.url_defaults(add_version)
    app.after_request(forget_flash)


def page(template: str, /, *, status: int = 200, **values: Any) -> Response:
    """A rendered page."""
    # a page that has counted what needs somebody need not count again for its bar
    g.alert_count = values.get("alert_count")
    response = make_response(render_template(template, **values), status)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def go(path: str, flash: str | None = None) -> AnyResponse:
    """Send the browser to a page after a change, which then says what was done."""
    response = redirect(path, 303)
    if flash is not None:
        security.set_cookie(response, FLASH_COOKIE, flash, max_age=60)
    return response


def page_context() -> dict[str, Any]:
    """What each page template may use besides what its view gives it."""
    user = context.user()
    return {
        "user": user,
        "may": context.may,
        "now": context.now(),
        "lamps": fleet_summary.shared().lamps(context.now()) if user else None,
        "alert_count": _alert_count() if user else 0,
        "settings_tabs": settings_tabs.visible() if user else (),
        "flash": take_flash(),
        "instance_name": general_settings.current().shown_name,
        "base_url": runtime().settings.base_url,
        "is_plain_http": request.scheme == "http" and (request.host.rpartition(":")[0] or request.host) not in LOOPBACK,
        "product_version": current_app.config.get("PRODUCT_VERSION", ""),
    }


def _alert_count() -> int:
    known: int | None = g.get("alert_count")
    return incidents.count_needing(context.now()) if known is None else known


def take_flash() -> dict[str, str] | None:
    """The message that the last change left for this page; the cookie only names one of a closed list."""
    found = FLASHES.get(request.cookies.get(FLASH_COOKIE, ""))
    if found is None:
        return None
    g.is_flash_taken = True
    return {"kind": found[0], "text": found[1]}


def forget_flash(response: Response) -> Response:
    if g.get("is_flash_taken"):
        security.clear_cookie(response, FLASH_COOKIE)
    return response


def add_version(endpoint: str, values: dict[str, Any]) -> None:
    """Put the content's hash into the address of a static file, so that browsers may keep it for good."""
    if endpoint == "static" and "filename" in values:
        file = Path(current_app.static_folder or "") / values["filename"]
        values.setdefault("v", content_hash(str(file), file.stat().st_mtime_ns if file.is_file() else 0))
    if endpoint == "assets.stylesheet":
        values.setdefault("v", assets.stylesheet_version())


@lru_cache(maxsize=256)
def content_hash(file: str, changed: int) -> str:
    """The start of the file's sha256; `changed` only makes an edited file count as another."""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12] if changed else "0"
