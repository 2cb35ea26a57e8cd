"""Who does something: a person, a host, an API token, or the server itself."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Actor:
    """Who acts, as the audit names them; `kind` is user, host, server or token."""

    kind: str
    name: str
    id: str = ""
    address: str = ""
    role: str = ""


SERVER = Actor(kind="server", name="server")
