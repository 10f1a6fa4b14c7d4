"""The floor of a write over HTTP: a server that only reads a body, commits it and answers.

*main.* `python floor.py FOLDER PORT`. The same server, event loop, thread and settings
of SQLite as `sie-config`, one bare table, and nothing of a configuration log: what is between the
two is the price of rules, hashes, folding and history.
"""

import asyncio
import sqlite3
import sys
from pathlib import Path

import uvloop
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from sie_config.log.own_thread import OwnThread
from sie_runtime.process.lifecycle import serve_http

__all__ = ["bare_table"]


def bare_table(file: Path) -> sqlite3.Connection:
    """A new table `t (n, body)` in a file that is as durable as the log's."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, body BLOB)")
    return connection


async def _serve(folder: Path, port: int) -> None:
    thread = OwnThread("floor")
    connection = await thread.run(lambda: bare_table(folder / "served.sqlite"))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        if body:
            await thread.run(lambda: connection.execute("INSERT INTO t (body) VALUES (?)", (body,)))
        length = str(len(body)).encode()
        start = {"type": "http.response.start", "status": 201 if body else 200}
        await send({**start, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": body})

    await serve_http(app, host="127.0.0.1", port=port, stop=asyncio.Event(), drain_s=1)


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
