"""What alerts there are: each kind with how grave it is and what it is called."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AlertKind:
    """`severity` is warning or critical; `title` is what people read."""

    severity: str
    title: str


KINDS = {
    "backup_failed": AlertKind("critical", "Backup failed"),
    "backup_late": AlertKind("warning", "Backup late"),
    "backup_missed": AlertKind("critical", "Backup missed"),
    "forget_failed": AlertKind("warning", "Forget failed"),
    "prune_failed": AlertKind("warning", "Prune failed"),
    "check_failed": AlertKind("critical", "Check failed"),
    "agent_offline": AlertKind("warning", "Agent offline"),
    "update_failed": AlertKind("warning", "Update failed"),
    "fleet_update_halted": AlertKind("critical", "Fleet update halted"),
    "repository_unreachable": AlertKind("critical", "Repository unreachable"),
    "certificate_or_key_problem": AlertKind("critical", "Certificate or key problem"),
    "release_signature_invalid": AlertKind("critical", "Release signature invalid"),
    "server_backup_failed": AlertKind("critical", "Server backup failed"),
}

STATES = ("raised", "acknowledged", "resolved")
