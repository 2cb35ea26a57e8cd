"""The API does all that the pages do: each form has its counterpart, or a reason why it has none."""

import pytest

from rm.api import operations

V1 = "/api/v1"

# What a form does, and the route of the API that does the same.
SAME = {
    "alerts.acknowledge": "POST /incidents/<incident_id>/acknowledge",
    "alerts.resolve": "POST /incidents/<incident_id>/resolve",
    "alerts.snooze": "POST /incidents/<incident_id>/snooze",
    "alerts.wake": "POST /incidents/<incident_id>/wake",
    "alert_settings.save": "PUT /settings/alerts",
    "channels.change": "PUT /channels/<channel_id>",
    "channels.create": "POST /channels",
    "channels.ping_dead_man": "POST /sign-of-life/ping",
    "channels.remove": "DELETE /channels/<channel_id>",
    "channels.remove_dead_man": "DELETE /sign-of-life",
    "channels.replace_secret": "POST /channels/<channel_id>/secret",
    "channels.retry": "POST /deliveries/<delivery_id>/retry",
    "channels.save_dead_man": "PUT /sign-of-life",
    "channels.test": "POST /channels/<channel_id>/test",
    "credentials.reenrol": "POST /hosts/<host_id>/re-enrol",
    "credentials.renew": "POST /hosts/<host_id>/renew-credential",
    "enrolments.mint": "POST /enrolment-tokens",
    "enrolments.revoke": "DELETE /enrolment-tokens/<token_id>",
    "fleet_updates.cancel": "POST /fleet-updates/<fleet_update_id>/cancel",
    "fleet_updates.close": "POST /fleet-updates/<fleet_update_id>/close",
    "fleet_updates.pause": "POST /fleet-updates/<fleet_update_id>/pause",
    "fleet_updates.plan": "POST /fleet-updates",
    "fleet_updates.resume": "POST /fleet-updates/<fleet_update_id>/resume",
    "fleet_updates.retry_failed": "POST /fleet-updates/<fleet_update_id>/retry-failed",
    "fleet_updates.roll_back": "POST /fleet-updates/<fleet_update_id>/rollback",
    "fleet_updates.skip": "POST /fleet-updates/<fleet_update_id>/skip",
    "fleet_updates.start": "POST /fleet-updates/<fleet_update_id>/start",
    "general_settings.check_base_url": "POST /settings/general/check-base-url",
    "general_settings.save": "PUT /settings/general",
    "hosts.remove": "DELETE /hosts/<host_id>",
    "hosts.revoke": "POST /hosts/<host_id>/revoke",
    "hosts.save_settings": "PUT /hosts/<host_id>",
    "jobs.cancel": "POST /jobs/<job_id>/cancel",
    "jobs.order": "POST /hosts/<host_id>/jobs",
    "jobs.run_again": "POST /jobs/<job_id>/again",
    "maintenance.run": "POST /repositories/<repository_id>/maintenance/<kind>/run",
    "maintenance.save": "PUT /repositories/<repository_id>/maintenance/<kind>",
    "metrics_settings.end_token": "DELETE /settings/metrics-token",
    "metrics_settings.make_token": "POST /settings/metrics-token",
    "pending_hosts.approve": "POST /pending-hosts/<pending_id>/approve",
    "pending_hosts.reject": "POST /pending-hosts/<pending_id>/reject",
    "pending_hosts.switch": "PUT /announcing",
    "releases.promote": "POST /releases/<release_id>/promote",
    "repositories.accept": "POST /repositories/<repository_id>/accept",
    "repositories.assign": "POST /repositories/<repository_id>/hosts",
    "repositories.change": "PUT /repositories/<repository_id>",
    "repositories.create": "POST /repositories",
    "repositories.order": "POST /hosts/<host_id>/jobs",
    "repositories.save": "PUT /hosts/<host_id>/repository",
    "repositories.set_maintenance": "PUT /repositories/<repository_id>/maintenance",
    "repositories.test": "POST /hosts/<host_id>/repository/test",
    "repositories.test_from": "POST /hosts/<host_id>/repository/test",
    "repositories.unassign": "DELETE /repositories/<repository_id>/hosts/<host_id>",
    "restores.order": "POST /hosts/<host_id>/restores",
    "schedules.create": "POST /hosts/<host_id>/schedules",
    "schedules.disable": "PUT /hosts/<host_id>/schedules/<schedule_id>",
    "schedules.enable": "PUT /hosts/<host_id>/schedules/<schedule_id>",
    "schedules.remove": "DELETE /hosts/<host_id>/schedules/<schedule_id>",
    "schedules.save": "PUT /hosts/<host_id>/schedules/<schedule_id>",
    "server_care.back_up": "POST /server-backups",
    "server_care.save_disk_limits": "PUT /settings/disk-limits",
    "server_care.save_history_limits": "PUT /settings/history-limits",
    "server_care.save_plan": "PUT /server-backups/plan",
    "snapshots.compare": "POST /hosts/<host_id>/diffs",
    "source_groups.create": "POST /hosts/<host_id>/source-groups",
    "source_groups.remove": "DELETE /hosts/<host_id>/source-groups/<group_id>",
    "source_groups.save": "PUT /hosts/<host_id>/source-groups/<group_id>",
    "template_parts.add_group": "PUT /templates/<template_id>",
    "template_parts.add_schedule": "PUT /templates/<template_id>",
    "template_parts.remove_group": "PUT /templates/<template_id>",
    "template_parts.remove_schedule": "PUT /templates/<template_id>",
    "template_parts.save_group": "PUT /templates/<template_id>",
    "template_parts.save_schedule": "PUT /templates/<template_id>",
    "templates.apply": "POST /templates/<template_id>/apply",
    "templates.create": "POST /templates",
    "templates.remove": "DELETE /templates/<template_id>",
    "templates.save": "PUT /templates/<template_id>",
    "tokens.create": "POST /tokens",
    "tokens.revoke": "DELETE /tokens/<token_id>",
    "updates.hold": "POST /hosts/<host_id>/hold",
    "updates.roll_back": "POST /hosts/<host_id>/rollback",
    "updates.unhold": "POST /hosts/<host_id>/unhold",
    "updates.update": "POST /hosts/<host_id>/update",
    "users.add": "POST /users",
    "users.disable": "POST /users/<user_id>/disable",
    "users.enable": "POST /users/<user_id>/enable",
    "users.new_link": "POST /users/<user_id>/link",
    "users.remove": "DELETE /users/<user_id>",
    "users.reset_second_factor": "POST /users/<user_id>/reset-second-factor",
    "users.set_role": "PUT /users/<user_id>",
    "users.withdraw_link": "DELETE /users/<user_id>/link",
}

# What only a person in a browser does, and why.
ONLY_PEOPLE = {
    "accounts.create_first": "the first administrator comes in through the setup link",
    "accounts.enter_code": "signing in",
    "accounts.log_in": "signing in; programs have tokens",
    "accounts.log_out": "signing out",
    "oidc.begin": "signing in",
    "own_account.change_password": "a person's own password, which no token may change",
    "own_account.revoke_others": "a person's own sessions",
    "own_account.revoke_session": "a person's own sessions",
    "second_factor.begin": "a person's own second factor",
    "second_factor.confirm": "a person's own second factor",
    "second_factor.renew_codes": "a person's own second factor",
    "second_factor.switch_off": "a person's own second factor",
    "snapshots.pick": "what is ticked while browsing; a restore names its paths",
    "user_links.choose": "choosing a password with a link",
}


def forms(app):
    """The endpoint of every route of the pages that takes a form."""
    return {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if rule.methods & {"POST", "PUT", "DELETE"} and not rule.rule.startswith(("/api/", "/agent/", "/ws/"))
    }


def test_every_form_of_the_pages_has_its_counterpart_or_a_reason(app):
    assert forms(app) == {*SAME, *ONLY_PEOPLE}
    assert not set(SAME) & set(ONLY_PEOPLE)


def test_the_counterparts_are_there(app):
    there = {
        f"{method} {rule.rule.removeprefix(V1)}"
        for rule in app.url_map.iter_rules() if rule.rule.startswith(V1) for method in rule.methods
    }  # fmt: skip

    assert set(SAME.values()) <= there


@pytest.mark.parametrize("path", ["/audit", "/audit?kind=token", "/settings/general", "/settings/alerts", "/me"])
def test_what_pages_show_is_there_too(alice, path):
    assert alice.get(f"{V1}{path}").status_code == 200


def test_every_change_of_the_api_is_declared_with_what_it_answers(app):
    wrong = [
        rule.rule for rule in app.url_map.iter_rules()
        if rule.rule.startswith(V1) and not operations.declared(app.view_functions[rule.endpoint]).answers
    ]  # fmt: skip

    assert wrong == []
