"""An agent's end of the socket, spoken by hand."""

import hashlib
import sqlite3

import websocket

from rm.shared import instants, protocol
from rm.shared.ids import new_ulid
from rm.shared.protocol import Hello
from tests.cast import NOW

AT = instants.to_text(NOW)


def enrol(server, data_dir):
    """A host let in with a token that is written into the database by hand: id and credential."""
    database = sqlite3.connect(data_dir / "restic-manager.db", timeout=30)
    database.execute(
        "INSERT INTO enrolment_tokens (id, token_hash, max_uses, created_by, created_at, expires_at)"
        " VALUES (?, ?, 100, 'test', '2026-01-01T00:00:00.000000Z', '2099-01-01T00:00:00.000000Z')",
        (new_ulid(), hashlib.sha256(b"rme_test").hexdigest()),
    )
    database.commit()
    database.close()
    return lambda name: join(server, name)


def join(server, name):
    body = {"token": "rme_test", "hostname": name, "os": "linux", "arch": "amd64", "agent_version": "0", "agent_seq": 1}
    answer = server.http().request("POST", server.url + "/agent/enroll", json=body | {"machine_id": name})
    assert answer.status == 201, answer.data
    return answer.json()


def connect(server, credential, *, hello=True):
    ws = websocket.create_connection(
        server.url.replace("http", "ws") + "/ws/agent",
        header=[f"Authorization: Bearer {credential}"],
        timeout=30,
        suppress_origin=True,
    )
    if hello:
        ws.send(protocol.encode(Hello(protocol_version=1, agent_version="0.1.0", hostname="h")))
        assert receive(ws).type == "welcome"
    return ws


def receive(ws):
    return protocol.decode(ws.recv(), protocol.FROM_SERVER)


def is_acknowledged(ws, message_id):
    """Whether an ack for the message comes; what else the server says is read past."""
    while (message := receive(ws)).type != "ack":
        pass
    return message.payload.id == message_id


def close_code(ws):
    """The code of the close frame that ends the connection; frames before it are read past."""
    while True:
        opcode, data = ws.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return int.from_bytes(data[:2], "big")


def add_hosts(data_dir, count):
    """Hosts written into the database by hand; returns their credentials."""
    database = sqlite3.connect(data_dir / "restic-manager.db", timeout=30)
    credentials = []
    for number in range(count):
        host_id, credential = new_ulid(), f"rmh_test_{number}"
        database.execute(
            "INSERT INTO hosts (id, name, hostname, os, arch, enrolled_at) VALUES (?, ?, ?, 'linux', 'amd64', ?)",
            (host_id, f"h{number}", f"h{number}", AT),
        )
        database.execute(
            "INSERT INTO host_credentials (credential_hash, host_id, created_at) VALUES (?, ?, ?)",
            (hashlib.sha256(credential.encode()).hexdigest(), host_id, AT),
        )
        credentials.append(credential)
    database.commit()
    database.close()
    return credentials
