"""The running agent: puts the parts together, lives until it is told to stop."""

import logging
import os
import signal
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import websocket

from agent import clock, release_info, restic, root_lock, selftest, status
from agent import config as configuration
from agent.browsing import Browsing
from agent.commands import Commands
from agent.config import Config, Paths
from agent.dialling import Dialling
from agent.errors import EXIT_OK, EXIT_RESTART, ConfigurationError
from agent.health import Health
from agent.hooks import Hooks
from agent.http import Transport
from agent.job import Surroundings
from agent.jobs import Jobs
from agent.journal import Journal
from agent.known import Known
from agent.link import Backoff, Ending, Link
from agent.listings import Listings
from agent.locks import Ledger
from agent.outbox import Outbox
from agent.platform import linux
from agent.questions import Questions
from agent.repository import Repositories
from agent.schedules.firing import Schedules
from agent.schedules.record import RecordFile
from agent.schedules.stored import StoredSchedules
from agent.schedules.waking import BeatFile, Clocks
from agent.secrets import SecretsFile
from agent.session import ANSWER_SECONDS, WELCOME_SECONDS, Outgoing, Session
from agent.target import Places
from agent.tool import ToolFinder
from agent.update import assemble
from agent.update.engine import Updates
from agent.usual import Usual
from agent.wake import Bell
from agent.watchdog import Watchdog
from rm.shared import instants
from rm.shared.protocol import PROTOCOL_VERSION, Heartbeat, Hello, JobProgress, Message, Welcome

log = logging.getLogger("agent")

STOP_SECONDS = 3.0
FEATURES = ("schedules", "browse", "restore", "diff", "forget", "hooks", "time_box")


@dataclass(frozen=True)
class Patience:
    """How long the agent waits for others: restic to end, the server to answer and to say welcome."""

    grace_seconds: float = 10.0
    answer_seconds: float = ANSWER_SECONDS
    welcome_seconds: float = WELCOME_SECONDS


class RunningAgent:
    """One agent on one root; `run` returns after `stop`. Raises ConfigurationError when it cannot begin."""

    def __init__(
        self, paths: Paths, config: Config, *, patience: Patience | None = None, backoff: Backoff | None = None,
        clocks: Clocks | None = None,
    ) -> None:  # fmt: skip
        self._patience = patience or Patience()
        paths.make()
        self._lock_file = root_lock.acquire(paths)
        self.paths = paths
        self.config = config
        self.release = release_info.read()
        self.secrets = SecretsFile(paths)
        self.secrets.load()
        if self.secrets.tighten():
            log.warning("%s could be read by other users; it is 0600 again.", paths.secrets_file)
        self.bell = Bell()
        self._watchdog = Watchdog()
        self._stopping = threading.Event()
        self._is_stop_ordered = self._wants_restart = False
        self.outbox = Outbox(
            paths.outbox_file,
            max_reports=config.limits.outbox_reports,
            max_bytes=config.limits.outbox_mib * 1024 * 1024,
            wake=self.bell.ring,
        )
        self.tools = ToolFinder(paths, config)
        self.outgoing = Outgoing()
        repositories = Repositories(paths=paths, config=config, secrets=self.secrets, tools=self.tools)
        stored = StoredSchedules(paths.state)
        self.hooks = Hooks(paths, config, shell_of=stored.shell_of)
        self.jobs = Jobs(
            journal=Journal(paths.jobs),
            around=Surroundings(
                secrets=self.secrets,
                repositories=repositories,
                outbox=self.outbox,
                show_progress=self._show_progress,
                stop=self._stopping,
                places=Places(paths.restore, allows_in_place=config.restore_in_place),
                hooks=self.hooks,
                ledger=Ledger(paths.state / "restics.json"),
                known=Known(paths.state / "repositories.json"),
                usual=Usual(paths.state / "usual.json"),
                grace_seconds=self._patience.grace_seconds,
            ),
            changed=self._jobs_changed,
        )
        self.schedules = Schedules(
            stored=stored,
            record=RecordFile(paths.state),
            beat=BeatFile(paths.state),
            jobs=self.jobs,
            outbox=self.outbox,
            hostname=config.hostname or linux.hostname(),
            host=self.secrets.load().host_id,
            clocks=clocks,
            changed=self.bell.ring,
        )
        self.jobs.scheduled = self.schedules.run_of
        transport = Transport(config)
        self.updates = Updates(
            assemble.kit(
                paths=paths,
                config=config,
                release=self.release,
                jobs=self.jobs,
                outbox=self.outbox,
                outgoing=self.outgoing,
                transport=transport,
                secrets=self.secrets,
                wake=self.bell.ring,
                own_checks=lambda: dict(selftest.examine(paths)["checks"]),
                red=self._red,
            ),
            restart=self._restart,
        )
        self.commands = Commands(
            jobs=self.jobs,
            outbox=self.outbox,
            outgoing=self.outgoing,
            secrets=self.secrets,
            questions=Questions(
                repositories=repositories, secrets=self.secrets, browsing=Browsing(self._new_listings(paths))
            ),
            updates=self.updates,
            schedules=self.schedules,
            wake=self.bell.ring,
        )
        self.health = Health(
            paths=paths, outbox=self.outbox, secrets=self.secrets, tools=self.tools, schedules=self.schedules
        )
        self._status = status.Status(
            pid=os.getpid(),
            started=linux.start_time(os.getpid()) or "",
            version=self.release.version,
            server=config.server,
        )
        self._dialling = Dialling(self.secrets)
        self._link = Link(
            transport=transport,
            credential=self._credential,
            make_session=self._make_session,
            bell=self.bell,
            is_stopping=self._stopping.is_set,
            told=self._disconnected,
            idle=self._while_waiting,
            refused=self._dialling.refused,
            backoff=backoff,
            watchdog=self._watchdog,
        )

    def _new_listings(self, paths: Paths) -> Listings:
        listings = Listings(paths.temporary / "listings")
        try:
            listings.clear()
        except OSError as error:
            log.warning("What an agent before this one had listed could not be removed: %s", error)
        return listings

    def run(self) -> int:
        """Work until `stop`, or until another release is to take this one's place; the exit code of the process."""
        log.info("rm-agent %s (%d) for %s", self.release.version, self.release.seq, self.config.server)
        self.updates.settle()
        self.jobs.start()
        self.schedules.start()
        self.write_status()
        try:
            self._link.run()
        finally:
            self.updates.stop(is_ordered=self._is_stop_ordered)
            self.schedules.stop(seconds=STOP_SECONDS)
            self.jobs.stop(seconds=STOP_SECONDS)
            if self.jobs.running:
                log.info("Job %s runs on and is taken up again at the next start.", self.jobs.running)
            self._status.connected_since = None
            self.write_status()
            self.outbox.close()
        if self.updates.is_swap_due and not self._is_stop_ordered:
            self.updates.swap()
        # Nothing may follow: the file that this process was started from may be another one by now.
        self._lock_file.close()
        return EXIT_RESTART if self._wants_restart and not self._is_stop_ordered else EXIT_OK

    def stop(self) -> None:
        """Somebody wants the agent to end; safe in a signal handler."""
        self._is_stop_ordered = True
        self._stopping.set()
        self.bell.ring()

    def _restart(self) -> None:
        self._wants_restart = True
        self._stopping.set()
        self.bell.ring()

    # ---- what the session asks ----------------------------------------------------------------------

    def hello(self) -> Hello:
        tool = self.tools.find()
        return Hello(
            protocol_version=PROTOCOL_VERSION,
            agent_version=self.release.version,
            agent_seq=self.release.seq,
            running_sha256=self.release.sha256,
            guard_version=os.environ.get("RM_GUARD_VERSION"),
            restic_version=tool.version_text,
            restic_features=restic.features(tool.version),
            hostname=self.config.hostname or linux.hostname(),
            os=linux.OS,
            arch=linux.arch(),
            init=linux.init_system(),
            boot_id=linux.boot_id(),
            config_version=self.secrets.load().config_version,
            schedule_version=self.schedules.stored.version,
            running_job=self.jobs.running,
            pinned=self.updates.is_pinned,
            update=self.updates.for_hello(),
            os_name=linux.os_name(),
            timezone=linux.timezone_name(),
            machine_id=linux.machine_id(),
            problems=self.health.problems(),
            features=[*FEATURES],
            hooks=self.hooks.names(),
            hooks_policy=self.hooks.policy,
            restore_in_place=self.config.restore_in_place,
            restore_directory=str(self.paths.restore),
        )

    def heartbeat(self) -> Heartbeat:
        reports, size = self.outbox.load()
        return Heartbeat(
            sent_at=clock.now(),
            outbox_reports=reports,
            outbox_bytes=size,
            running_job=self.jobs.running,
            next_runs=list(self.schedules.told.next_runs),
            problems=self.health.problems(),
            groups=list(self.schedules.told.groups),
            timezone=linux.timezone_name(),
        )

    def welcomed(self, welcome: Welcome) -> None:
        self._dialling.welcomed()
        offset = instants.from_text(welcome.server_time) - datetime.now(timezone.utc)
        self.health.clock_offset_seconds = offset.total_seconds()
        self._status.connected_since = clock.now()
        self._status.trouble = self._status.next_attempt_at = None
        self.write_status()
        log.info("Connected as host %s.", welcome.host_id)
        self.updates.welcomed(welcome.server_time)

    def heard(self) -> None:
        self.updates.heard()

    def look(self) -> float | None:
        return self.updates.look()

    def handle(self, message: Message) -> None:
        self.commands.handle(message)

    def tick(self) -> None:
        """Now and then: bring to disk what a full disk refused, and write the status file."""
        self.outbox.retry()
        self.jobs.retry()
        self.updates.tick()
        self.write_status()

    def write_status(self) -> None:
        tool = self.tools.find()
        found = self._status
        found.restic_version = tool.version_text
        found.running_job = self.jobs.running
        found.schedule_version = self.schedules.stored.version
        found.schedules = list(self.schedules.told.lines)
        found.outbox_reports, found.outbox_bytes = self.outbox.load()
        found.problems = self.health.problems()
        found.written_at = clock.now()
        status.write(self.paths, found)

    def _jobs_changed(self) -> None:
        self.bell.ring()
        self.schedules.ring()

    def _while_waiting(self) -> None:
        self.tick()
        self.updates.look()

    def _red(self) -> list[str]:
        """What an update on trial must have well, by name."""
        found = [] if not self.tools.find().problem else ["restic"]
        for name, look in (("secrets", self.secrets.load), ("config", lambda: configuration.load(self.paths))):
            try:
                look()
            except ConfigurationError:
                found.append(name)
        return found + (["outbox"] if self.outbox.problems() else [])

    def _credential(self) -> str:
        self.updates.dials()
        return self._dialling.credential()

    def _make_session(self, socket: "websocket.WebSocket") -> Session:
        return Session(
            socket,
            owner=self,
            outbox=self.outbox,
            outgoing=self.outgoing,
            bell=self.bell,
            is_stopping=self._stopping.is_set,
            answer_seconds=self._patience.answer_seconds,
            welcome_seconds=self._patience.welcome_seconds,
            watchdog=self._watchdog,
        )

    def _disconnected(self, ending: Ending, seconds: float) -> None:
        self.updates.ended(ending)
        self._status.connected_since = None
        self._status.trouble = ending.text
        self._status.next_attempt_at = instants.to_text(datetime.now(timezone.utc) + timedelta(seconds=seconds))

    def _show_progress(self, progress: JobProgress) -> None:
        self.outgoing.progress(progress)
        self.bell.ring()


def run_until_signal(paths: Paths, config: Config) -> int:
    """Run the agent in this process until SIGTERM or SIGINT, or until it is to be started again; the exit code."""
    agent = RunningAgent(paths, config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    return agent.run()
