"""The ceiling of the agents' socket: bare websockets on uvloop that answers, and does nothing else.

Usage: python -m bench.ceiling PORT STREAM_PORT [FILE_PORT FILE]. The second port streams what agents report to whoever
connects, as the product streams rows to browsers: collected for a quarter of a second, then one ready-made event for
all. The third sends a file from memory to whoever asks for anything.
"""

import asyncio
import json
import resource
import sys
from pathlib import Path

import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

FLUSH_SECONDS = 0.25
REPEATED = {"heartbeat", "job.log", "job.started", "job.finished"}
# as long as a row of the fleet page
PADDING = "x" * 1200


class Bare:
    """Welcomes, acknowledges, and passes on what changed."""

    def __init__(self) -> None:
        self._changed: dict[str, str] = {}
        self._readers: set[asyncio.StreamWriter] = set()

    async def agent(self, socket: ServerConnection) -> None:
        try:
            async for frame in socket:
                message = json.loads(frame)
                kind, message_id, payload = message["type"], message["id"], message["payload"]
                if kind == "hello":
                    welcome = {"server_time": "2026-01-01T00:00:00Z", "heartbeat_seconds": 30, "host_id": "x"}
                    await socket.send(json.dumps({"type": "welcome", "id": message_id, "payload": welcome}))
                elif kind in REPEATED:
                    await socket.send(json.dumps({"type": "ack", "id": message_id, "payload": {"id": message_id}}))
                elif kind == "job.progress" and self._readers:
                    self._changed[payload["job_id"]] = f"{payload['percent']} %"
        except ConnectionClosed:
            return

    async def reader(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: .\n\n")
        self._readers.add(writer)
        await reader.read()
        self._readers.discard(writer)
        writer.close()

    async def pass_on(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            if self._changed:
                changed, self._changed = self._changed, {}
                event = "".join(f'data: <tr id="job-{job_id}">{text}{PADDING}\n' for job_id, text in changed.items())
                for writer in self._readers:
                    writer.write(event.encode() + b"\n")


async def send_file(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode())
    writer.write(data)
    await writer.drain()
    writer.close()


async def main(port: int, stream_port: int, file_port: int = 0, file: str = "") -> None:
    bare = Bare()
    data = Path(file).read_bytes() if file else b""
    async with (
        await asyncio.start_server(lambda reader, writer: send_file(reader, writer, data), "127.0.0.1", file_port),
        serve(bare.agent, "127.0.0.1", port, compression=None, ping_interval=None, backlog=4096),
        await asyncio.start_server(bare.reader, "127.0.0.1", stream_port),
    ):
        await bare.pass_on()


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(main(*map(int, sys.argv[1:4]), *sys.argv[4:5]))
