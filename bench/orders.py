"""Orders to a process of the load's side: one line of JSON each on its input, one line of JSON as the answer."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any


async def serve(subject: Any) -> None:
    """Carry out orders, each a method of the subject; ends with the input."""
    orders = asyncio.StreamReader(limit=64 * 1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        order = json.loads(line)
        action: Callable[..., Awaitable[dict[str, Any]]] = getattr(subject, order.pop("do"))
        try:
            answer = await action(**order)
        except Exception as error:  # noqa: BLE001 the other side turns it into a failure
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
