"""What alerts there are: each kind with how grave it is, how patient the server is with it, and what people read."""

from dataclasses import dataclass
from datetime import timedelta

MINUTES = timedelta(minutes=1)
NONE = timedelta(0)


@dataclass(frozen=True)
class AlertKind:
    """`severity` is warning or critical; `title` is what people read, `advice` what they can do.

    Unless settings say otherwise a condition must hold for `patience` until it is raised, and its end for `hold` until
    that is told; no patience may be shorter than `least`.
    """

    severity: str
    title: str
    advice: str
    patience: timedelta = NONE
    hold: timedelta = NONE
    least: timedelta = NONE


KINDS = {
    "backup_failed": AlertKind(
        "critical", "Backup failed",
        "Open the host and read the log of the failed run; its last lines say what restic or a hook complained about."
        " It ends by itself with the next good backup.",
    ),
    "backup_late": AlertKind(
        "warning", "Backup late",
        "Look whether the host is on and its agent runs. A host that catches up ends this by itself.",
    ),
    "backup_missed": AlertKind(
        "critical", "Backup missed",
        "Nothing good came for twice the expected time. Find out why the host does not run its schedule: is it off, is"
        " its agent stopped, does a run hang? Start a backup by hand once it is back.",
    ),
    "forget_failed": AlertKind(
        "warning", "Forget failed",
        "Old snapshots are kept until it works again; backups go on. Read the log of the job on the repository's page.",
    ),
    "prune_failed": AlertKind(
        "warning", "Prune failed",
        "Space is not freed until it works again; backups go on. Read the log of the job on the repository's page.",
    ),
    "check_failed": AlertKind(
        "critical", "Check failed",
        "If the log speaks of damage, delete nothing in the repository: no forget, no prune. Copy it first, then follow"
        " restic's own guide to repairs. Other failures are tried again.",
    ),
    "agent_offline": AlertKind(
        "warning", "Agent offline",
        "Look whether the machine is on and reaches this server; on it, rm-agent doctor says what is wrong. Backups go"
        " on without the server as long as the agent runs.",
        patience=15 * MINUTES, hold=10 * MINUTES, least=2 * MINUTES,
    ),
    "update_failed": AlertKind(
        "warning", "Update failed",
        "The host's page says what was measured and what mends it. The host works on with the agent that it had.",
    ),
    "fleet_update_halted": AlertKind(
        "critical", "Fleet update halted",
        "Nothing more is updated until somebody decides: look at the host that halted it, then retry, skip, roll back"
        " or cancel.",
    ),
    "repository_unreachable": AlertKind(
        "critical", "Repository unreachable",
        "Several hosts, or a test, cannot open it. Look whether its server runs, its address and its credentials hold,"
        " and nothing has locked it; then press Test on its page.",
        hold=10 * MINUTES,
    ),
    "certificate_or_key_problem": AlertKind(
        "critical", "Certificate or key problem",
        "Something that proves who is who does not fit. Read what it says before you change anything: it may be a"
        " cloned machine, a wrong key file, or somebody else.",
    ),
    "release_signature_invalid": AlertKind(
        "critical", "Release signature invalid",
        "Do not try again before you know who made that release. No host takes a release whose signature is wrong.",
    ),
    "server_backup_failed": AlertKind(
        "critical", "Server backup failed",
        "The server's own database has no fresh copy. Free space, or correct where copies go, and make one by hand.",
    ),
    "server_disk_low": AlertKind(
        "critical", "Server disk almost full",
        "Free space in the server's data directory, or give it more. Log lines go first, then new orders; results of"
        " jobs are taken until the very end. Settings → Server shows what takes the space.",
    ),
    "channel_failing": AlertKind(
        "critical", "Notification channel failing",
        "People are not told what this channel was to tell them. Its delivery log has the reason; test it again once"
        " that is mended.",
        hold=10 * MINUTES,
    ),
}  # fmt: skip

STATES = ("raised", "acknowledged", "resolved")
SEVERITIES = ("warning", "critical")
BACKUP_KINDS = ("backup_failed", "backup_late", "backup_missed")
CAUSE_KIND = "repository_unreachable"
"""The kind that is about a cause itself, which is then its condition too."""
TOLD_AT_LENGTH = (CAUSE_KIND,)
"""Kinds that are about more than the alerts that came before them in the same incident, and speak for it."""
