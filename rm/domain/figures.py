"""What /metrics says: every figure with its name, its labels and what it means; pages and docs read this list too."""

from dataclasses import dataclass

PREFIX = "restic_manager_"
GROUP = ("group", "host", "host_id")
HOST = ("host", "host_id")
JOB_SECONDS = (10, 60, 300, 900, 3600, 14_400, 43_200, 86_400)
"""Where the histogram of durations is cut; schema.sql counts by the same."""


@dataclass(frozen=True)
class Figure:
    """`kind` is gauge, counter, histogram or summary; `name` is as Prometheus shows it, without the prefix."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        return PREFIX + self.name

    @property
    def family(self) -> str:
        """The name as prometheus-client wants it."""
        return self.full_name.removesuffix("_total") if self.kind == "counter" else self.full_name

    @property
    def series(self) -> tuple[str, ...]:
        """The names that its samples carry."""
        if self.kind != "histogram":
            return (self.full_name,)
        return tuple(f"{self.full_name}_{part}" for part in ("bucket", "sum", "count"))


@dataclass(frozen=True)
class Section:
    """Figures about one noun."""

    title: str
    figures: tuple[Figure, ...]


SECTIONS = (
    Section(
        "Backups",
        (
            Figure(
                "backup_last_success_timestamp_seconds",
                "gauge",
                "When the last good backup of this source group ended; 0 while there is none.",
                GROUP,
            ),
            Figure(
                "backup_next_due_timestamp_seconds",
                "gauge",
                "When the host says that the next run of this source group is due; absent while it names none.",
                GROUP,
            ),
            Figure(
                "backup_late",
                "gauge",
                "1 while a good backup of this source group is overdue, else 0.",
                GROUP,
            ),
            Figure(
                "backup_protected",
                "gauge",
                "1 while the last good backup of this source group is young enough, else 0.",
                GROUP,
            ),
            Figure(
                "backup_status",
                "gauge",
                "1, with the verdict about this source group as the label status.",
                (*GROUP, "status"),
            ),
            Figure(
                "backup_last_duration_seconds",
                "gauge",
                "How long the backup of this source group took that ended last.",
                GROUP,
            ),
            Figure("source_groups", "gauge", "Source groups by the verdict about them.", ("status",)),
        ),
    ),
    Section(
        "Hosts",
        (
            Figure(
                "hosts",
                "gauge",
                "Hosts by status: online, offline, waiting for the first contact, revoked.",
                ("status",),
            ),
            Figure(
                "protected_hosts", "gauge", "Hosts whose every source group has a good backup that is young enough."
            ),
            Figure("pending_hosts", "gauge", "Hosts that announced themselves and wait for an administrator."),
            Figure("host_connected", "gauge", "1 while the host's agent is connected and heard from, else 0.", HOST),
            Figure("host_last_seen_timestamp_seconds", "gauge", "When the host was heard from last; 0: never.", HOST),
            Figure(
                "host_info",
                "gauge",
                "1, with what the host runs as labels.",
                ("agent_sequence", "agent_version", "arch", "host", "host_id", "mode", "os"),
            ),
            Figure("agents", "gauge", "Hosts by the agent that they run.", ("version", "sequence")),
            Figure("agents_connected", "gauge", "Connections that agents hold open to this server."),
        ),
    ),
    Section(
        "Jobs",
        (
            Figure(
                "jobs_total",
                "counter",
                "Jobs that ended, by kind and outcome; a lost job that is heard of later counts again as what it was.",
                ("kind", "outcome"),
            ),
            Figure("jobs_open", "gauge", "Jobs that have not ended, by kind and state.", ("kind", "state")),
            Figure(
                "job_duration_seconds",
                "histogram",
                "How long jobs took that succeeded, succeeded with warnings or failed, by kind.",
                ("kind",),
            ),
        ),
    ),
    Section(
        "Repositories",
        (
            Figure("repository_size_bytes", "gauge", "Size of the repository, as last measured.", ("repository",)),
            Figure("repository_snapshots", "gauge", "Snapshots in the repository, as last counted.", ("repository",)),
            Figure(
                "repository_last_check_timestamp_seconds",
                "gauge",
                "When the last check that could judge the repository ended; 0 while there was none.",
                ("repository",),
            ),
            Figure(
                "repository_last_check_success",
                "gauge",
                "1 when the last check found no error, else 0; absent while there was none.",
                ("repository",),
            ),
            Figure(
                "repository_last_prune_timestamp_seconds",
                "gauge",
                "When the last prune that succeeded ended; 0 while there was none.",
                ("repository",),
            ),
            Figure(
                "maintenance_last_duration_seconds",
                "gauge",
                "How long the last forget, prune or check of the repository's plan took.",
                ("kind", "repository"),
            ),
        ),
    ),
    Section(
        "Alerts and notifications",
        (
            Figure("alerts_open", "gauge", "Alerts that are not resolved.", ("kind", "severity", "state")),
            Figure("alerts_total", "counter", "Alerts that were ever raised.", ("kind", "severity")),
            Figure("incidents_open", "gauge", "Incidents that are not resolved.", ("severity", "state")),
            Figure("deliveries_total", "counter", "Notifications that were sent or given up.", ("result",)),
            Figure("deliveries_queued", "gauge", "Notifications that wait to be sent, first tries and repeated ones."),
            Figure(
                "delivery_oldest_queued_timestamp_seconds",
                "gauge",
                "When the notification was made that waits longest; absent while none waits.",
            ),
            Figure(
                "channel_failing",
                "gauge",
                "1 while the last delivery to the channel did not arrive, else 0.",
                ("channel",),
            ),
        ),
    ),
    Section(
        "Updates of agents",
        (
            Figure(
                "update_attempts_total",
                "counter",
                "Attempts to change a host's agent that have ended, by how and why; "
                "a verdict that evidence corrects counts again as what it became.",
                ("kind", "result", "reason"),
            ),
            Figure("update_attempts_open", "gauge", "Attempts that have not ended, by state.", ("kind", "state")),
            Figure(
                "update_phase_seconds",
                "summary",
                "How long the phases of updates took, of the last 300 attempts.",
                ("phase", "quantile"),
            ),
            Figure("update_provisional_verdicts_total", "counter", "Failures that were concluded from silence."),
            Figure(
                "update_corrections_total",
                "counter",
                "Failures concluded from silence that evidence has corrected.",
            ),
            Figure("hosts_behind", "gauge", "Hosts with an older agent than the current release."),
            Figure("fleet_updates", "gauge", "Fleet updates by state.", ("state",)),
            Figure("fleet_update_hosts", "gauge", "Hosts of the fleet update that is not over, by state.", ("state",)),
        ),
    ),
    Section(
        "The server",
        (
            Figure("build_info", "gauge", "1, with the version of the server as a label.", ("version",)),
            Figure(
                "server_backup_last_success_timestamp_seconds",
                "gauge",
                "When the last copy of the server's database ended that was opened and found whole; 0: none yet.",
            ),
            Figure("server_backup_last_size_bytes", "gauge", "Size of that copy; absent while there is none."),
            Figure("server_backup_failed", "gauge", "1 when the newest copy that ended is not whole, else 0."),
            Figure("database_size_bytes", "gauge", "Size of the database file."),
            Figure("database_wal_size_bytes", "gauge", "Size of the log that SQLite keeps beside it."),
            Figure("data_directory_free_bytes", "gauge", "Room on the file system of the data directory."),
            Figure("writer_waiting_lines", "gauge", "Log lines that were received and are not stored yet."),
            Figure(
                "event_loop_lag_seconds",
                "gauge",
                "How much longer than asked for a short pause lasted, taken when the metrics were read.",
            ),
            Figure(
                "metrics_read_timestamp_seconds",
                "gauge",
                "When these figures were read; scrapes within a few seconds get the same ones.",
            ),
        ),
    ),
)

FIGURES = {figure.name: figure for section in SECTIONS for figure in section.figures}
PROCESS_PREFIXES = ("process_", "python_")
"""Besides: the figures that every Python program with prometheus-client has."""


def figure(name: str) -> Figure:
    """The figure of that name; raises KeyError for one that is not listed."""
    return FIGURES[name]
