"""The agents' door: /ws/agent for the conversation, /agent/enroll to get in, /install.sh to begin with."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Flask, Response, current_app, g, request
from flask_sock import Sock

from rm.agent_link import bearer, bodies, install
from rm.agent_link.agent_socket import AgentSocket, NoEvent, NoReader
from rm.agent_link.announce import announcing
from rm.agent_link.downloads import downloads
from rm.agent_link.handlers import handle
from rm.agent_link.registry import AgentRegistry
from rm.agent_link.session import AgentSession, Link
from rm.domain.limits import ENROL_PER_ADDRESS
from rm.domain.permissions import AGENT, PUBLIC, allows
from rm.errors import Unauthorised
from rm.runtime import Runtime, runtime
from rm.services import enrolments, presence, tokens
from rm.services.enrolments import Applicant
from rm.shared import protocol
from rm.shared.fields import Text

agents = Blueprint("agents", __name__)
sock = Sock()

_HELP = "The agent makes this request itself: rm-agent enroll --server URL."


def register(app: Flask, registry: AgentRegistry) -> None:
    """Add the agents' routes to the application."""
    app.config["SOCK_SERVER_OPTIONS"] = {
        "max_message_size": protocol.MAX_FRAME_BYTES,
        "thread_class": NoReader,
        "event_class": NoEvent,
    }
    app.extensions["rm_agents"] = registry
    app.register_blueprint(agents)
    app.register_blueprint(announcing)
    app.register_blueprint(downloads)


def link_of(parts: Runtime) -> Link:
    """What the server lends to each session."""
    return Link(bus=parts.bus, vault=parts.vault, writer=parts.writer, clock=parts.clock, handle=handle)


@agents.before_request
def refuse_early() -> None:
    """A handshake that cannot succeed is answered with HTTP, before the protocol changes."""
    if request.endpoint != "agents.ws_agent":
        return
    if request.headers.get("Origin"):
        # CORS does not cover WebSockets; agents send no Origin, browsers always do.
        raise Unauthorised("Browsers cannot connect here.", code="credential_refused")
    g.agent_host = presence.admit(credential=bearer.secret())


@sock.route("/ws/agent", bp=agents)
@allows(AGENT)
def ws_agent(ws: Any) -> None:
    """One agent's conversation, for as long as its socket lasts."""
    registry: AgentRegistry = current_app.extensions["rm_agents"]
    release_connection: Callable[[], None] = current_app.extensions["rm_release_connection"]
    # popped: the row would stay in memory for as long as the connection lasts
    host_id = g.pop("agent_host").id
    address = request.remote_addr or ""
    # The request lasts for hours; a session opens a connection only around real work.
    release_connection()
    if runtime().is_stopping:
        ws.close(1012, "server restarts")
        return
    if registry.is_full():
        # Well before the last slot is taken: plain HTTP must go on.
        ws.close(1013, "the server is full")
        return
    AgentSession(
        AgentSocket(ws),
        link=link_of(runtime()),
        registry=registry,
        host_id=host_id,
        credential_hash=tokens.hashed(bearer.secret()),
        address=address,
    ).serve()


@agents.post("/agent/enroll")
@allows(AGENT)
def enroll() -> tuple[dict[str, Any], int]:
    """Swap an enrolment token for a host id and a credential."""
    parts = runtime()
    now = parts.clock()
    address = request.remote_addr or ""
    parts.limits.take("enrol", address, ENROL_PER_ADDRESS, now)
    body = bodies.checked({"token": Text(200)} | dict(bodies.APPLICANT), help=_HELP)
    token = body.pop("token")
    admission = enrolments.enrol(parts.bus, token=token, applicant=Applicant(**body), address=address, now=now)
    return bodies.admission(admission), 201


@agents.get("/install.sh")
@allows(PUBLIC)
def install_script() -> Response:
    """The script that installs the agent; it holds no secret."""
    body = install.script(base_url=runtime().settings.base_url)
    return Response(body, mimetype="text/x-shellscript", headers={"Cache-Control": "no-cache"})
