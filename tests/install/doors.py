"""What may stand between a host and its server: a TLS door with a private CA, and a proxy that wants a password."""

import base64
import select
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path


def make_ca(directory: Path, name: str) -> tuple[Path, Path]:
    """A private CA's certificate, and the file with key and certificate for a server of that name."""
    directory.mkdir(parents=True, exist_ok=True)

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(*new, "-x509", "-days", "2", "-subj", "/CN=tests' own CA", "-keyout", "ca.key", "-out", "ca.pem")
    openssl(*new, "-subj", f"/CN={name}", "-keyout", "server.key", "-out", "server.csr")
    (directory / "names").write_text(f"subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth\n")
    openssl(
        "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
        "-days", "2", "-extfile", "names", "-out", "server.pem",
    )  # fmt: skip
    both = directory / "both.pem"
    both.write_bytes((directory / "server.key").read_bytes() + (directory / "server.pem").read_bytes())
    return directory / "ca.pem", both


class Door:
    """Listens on loopback and passes each connection on; `close` ends it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def open(self) -> "Door":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_quietly, args=(caller,), daemon=True).start()

    def _serve_quietly(self, caller: socket.socket) -> None:
        try:
            self.serve(caller)
        except OSError:
            return
        finally:
            caller.close()

    def serve(self, caller: socket.socket) -> None:
        raise NotImplementedError


class TlsDoor(Door):
    """Speaks TLS to the outside and plain HTTP to the server."""

    def __init__(self, *, certificate: Path, server_port: int) -> None:
        super().__init__()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._server_port = server_port

    def serve(self, caller: socket.socket) -> None:
        with (
            self._context.wrap_socket(caller, server_side=True) as inside,
            socket.create_connection(("127.0.0.1", self._server_port)) as server,
        ):
            pump(inside, server)


@dataclass
class Seen:
    """What a proxy was asked for: targets that it let through, and how often it refused."""

    passed: list[str] = field(default_factory=list)
    refused: int = 0


class ProxyDoor(Door):
    """An HTTP proxy that lets CONNECT through for one user, and knows names that nobody else can resolve."""

    def __init__(self, *, user: str, password: str, names: dict[str, int]) -> None:
        super().__init__()
        self._wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self._names = names
        self.seen = Seen()

    def serve(self, caller: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = caller.recv(4096)
            if not piece:
                return
            head += piece
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        verb, target, _ = lines[0].split(" ")
        if headers.get("proxy-authorization") != self._wanted:
            self.seen.refused += 1
            caller.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\n")
            caller.sendall(b"Content-Length: 0\r\nConnection: close\r\n\r\n")
            return
        port = self._names.get(target)
        if verb != "CONNECT" or port is None:
            caller.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        self.seen.passed.append(target)
        with socket.create_connection(("127.0.0.1", port)) as server:
            caller.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            pump(caller, server)


def pump(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until either side ends."""
    while True:
        pending = isinstance(one, ssl.SSLSocket) and one.pending() > 0
        readable = [one] if pending else select.select([one, other], [], [])[0]
        for source in readable:
            data = source.recv(65536)
            if not data:
                return
            (other if source is one else one).sendall(data)
