"""The ceiling of the idle agent: hello, and a heartbeat every 30 s. Reads URL and credential from its input."""

import select
import sys
import time

import websocket

from rm.shared import protocol
from rm.shared.protocol import Heartbeat, Hello


def main() -> None:
    url, credential = sys.stdin.readline().split()
    socket = websocket.create_connection(url, header=[f"Authorization: Bearer {credential}"], suppress_origin=True)
    socket.send(protocol.encode(Hello(protocol_version=1, agent_version="0", hostname="bare")))
    due = time.monotonic()
    while True:
        readable, _, _ = select.select([socket], [], [], max(0.0, due - time.monotonic()))
        if readable:
            socket.recv()
        else:
            due += protocol.HEARTBEAT_SECONDS
            socket.send(protocol.encode(Heartbeat(sent_at="2026-01-01T00:00:00Z")))


if __name__ == "__main__":
    main()
