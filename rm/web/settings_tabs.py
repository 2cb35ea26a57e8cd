"""The pages under Settings, and who sees which."""

from rm.web import context

TABS = (
    ("general", "General", "settings.view"),
    ("users", "Users", "users.manage"),
    ("notifications", "Notifications", "channels.manage"),
    ("alerts", "Alerts", "settings.view"),
    ("updates", "Updates", "settings.view"),
    ("fleet-update", "Fleet update", "fleet.view"),
    ("tokens", "Tokens", "tokens.own"),
    ("metrics", "Metrics", "settings.view"),
    ("server", "Server", "server.care"),
    ("account", "Account", "account.view"),
)


def visible() -> tuple[tuple[str, str, str], ...]:
    """Key, word and address of each page that whoever asks may open."""
    return tuple((key, word, f"/settings/{key}") for key, word, permission in TABS if context.may(permission))
