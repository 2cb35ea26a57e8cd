"""The composition root: builds and wires the application, and switches its background work on and off."""

import logging
from pathlib import Path

import tomllib
from flask import Flask, Response

from rm import api, care_cli, web
from rm.agent_link import endpoint
from rm.agent_link.registry import MAX_AGENTS, AgentRegistry
from rm.agent_link.steady_socket import SteadySocketMiddleware
from rm.agent_link.turns import TurnsMiddleware
from rm.cli import rm_commands
from rm.config import Settings
from rm.domain.actors import SERVER
from rm.errors import RmError
from rm.events import EventBus
from rm.runtime import Runtime, runtime, utc_now
from rm.services import (
    disk_space,
    first_run,
    fleet_updates,
    oidc,
    presence,
    releases,
    server_backups,
    server_restore,
    updates,
)
from rm.store import database
from rm.store.migrate import migrate
from rm.store.vault import open_vault
from rm.store.writer import Writer
from rm.workers.scheduler import Scheduler

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 2 * 1024 * 1024
ROOT = Path(__file__).parents[1]


def create_app(settings: Settings) -> Flask:
    """The wired application on an opened, migrated database. Starts no thread; raises NotReady."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    bus = EventBus()
    app = Flask("rm", template_folder=str(ROOT / "templates"), static_folder=str(ROOT / "static"))
    app.config["PRODUCT_VERSION"] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_REQUEST_BYTES
    registry = AgentRegistry(max_agents=MAX_AGENTS[settings.worker_class])
    migrate(settings.database_file, now=utc_now())
    database.open_database(settings.database_file)
    with database.connection():
        vault = open_vault(settings.secret_key_file or settings.data_dir / "secret.key")
    writer = Writer(bus, drops_lines=disk_space.drops_lines)
    parts = Runtime(settings=settings, bus=bus, vault=vault, writer=writer, agents=registry)
    parts.oidc = oidc.make_provider(settings)
    app.extensions["rm"] = parts
    app.extensions["rm_scheduler"] = Scheduler(parts, cut_stuck=registry.cut_stuck, ask_again=registry.ask_again)
    bus.on_event(registry.on_event)
    _serve_connections(app)
    web.register(app)
    api.register(app)
    endpoint.register(app, registry)
    app.cli.add_command(rm_commands)
    turns = TurnsMiddleware(web.trusted(app.wsgi_app, settings))
    app.wsgi_app = SteadySocketMiddleware(turns)  # type: ignore[method-assign]
    return app


def create_bare_app(settings: Settings) -> Flask:
    """An application for the commands that work on the files alone; no database is opened or made."""
    app = care_cli.bare_app(settings)
    app.cli.add_command(rm_commands)
    return app


def start(app: Flask) -> None:
    """Switch the background work on; prints the setup link while there is no user."""
    parts = runtime(app)
    with database.connection():
        presence.nobody_is_connected()
        updates.use_timing(parts.settings.timing)
        # Nobody was there to hear what came while the server was down.
        updates.rearm(parts.bus, now=parts.clock())
        fleet_updates.rearm(parts.bus, now=parts.clock())
        server_backups.settle_unfinished(now=parts.clock())
        server_restore.after_restore(parts.bus, now=parts.clock())
        disk_space.look(parts.bus, data_dir=parts.settings.data_dir, now=parts.clock())
        _import_release(parts)
        token = first_run.open_setup(fixed_token=parts.settings.setup_token, now=parts.clock())
    if token is not None:
        parts.setup_link = f"{parts.settings.base_url}/setup?token={token}"
        # The one secret that is logged on purpose: it ends with the first user, and only the log's reader is the owner.
        log.warning("No user exists yet. Create the first administrator at %s", parts.setup_link)
    if parts.settings.timing.is_short:
        log.warning(
            "RM_UPDATE_TIMEOUT_SECONDS is short: a slow host may be called failed, and its trial ends after %s s",
            parts.settings.timing.revert_seconds,
        )
    parts.writer.start()
    app.extensions["rm_scheduler"].start()


def _import_release(parts: Runtime) -> None:
    """Keep the release that came with this server; one that is refused is told, and the server starts all the same."""
    directory = parts.settings.release_dir
    if directory is None:
        return
    try:
        done = releases.import_release(
            parts.bus, directory=directory, data_dir=parts.settings.data_dir, actor=SERVER, now=parts.clock()
        )
    except (RmError, OSError) as error:
        log.error("the release in %s was not imported: %s", directory, error)
    else:
        if done.is_new:
            log.info("release %s was imported; Settings → Updates makes it current", done.release.version)


def stop(app: Flask) -> None:
    """Close every agent with 1012, end every stream, commit what waits."""
    parts = runtime(app)
    parts.is_stopping = True
    app.extensions["rm_scheduler"].stop()
    app.extensions["rm_agents"].stop()
    parts.bus.close()
    parts.writer.stop()
    database.close_database()


def _serve_connections(app: Flask) -> None:
    def open_connection() -> None:
        if database.db.is_closed():
            database.db.connect()

    def release_connection() -> None:
        if not database.db.is_closed():
            database.db.close()

    def teardown(_: BaseException | None) -> None:
        # Requests of the test client may run inside a block that holds a connection of its own.
        if not app.config.get("RM_KEEP_CONNECTION"):
            release_connection()

    def no_server_header(response: Response) -> Response:
        response.headers.pop("Server", None)
        return response

    app.before_request(open_connection)
    app.teardown_request(teardown)
    app.after_request(no_server_header)
    app.extensions["rm_release_connection"] = release_connection
