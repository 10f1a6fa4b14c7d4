"""Model execution whose right answer anybody can work out: a program for the harness.

*main.* `python -m sie_testing.processes.echo_execution SOCKET` speaks the sidecar's protocol as
`sie-server` does. A vector is a hash of the revision, the adapter and the text. So anyone can tell
an answer that was made with another model, another adapter or for another text.
"""

import asyncio
import contextlib
import hashlib
import os
import struct
import sys
from pathlib import Path
from typing import Final, assert_never

from sie_schemas import ipc

__all__ = ["BACKEND", "DIMS", "UNLOADABLE", "echo_vector", "main"]

BACKEND: Final = "hashing"
"""A name of its own: the built-in `echo` takes no adapters, and this one does."""
UNLOADABLE: Final = "unloadable"
"""A package whose models never load."""
DIMS: Final = 8
"""Two texts whose answers were swapped share eight bytes of a hash once in 10^19 times."""


def echo_vector(model_revision: str, adapter_revision: str, text: str) -> tuple[float, ...]:
    """The vector of a text [DIMS]; an empty adapter revision is the base. Exact in float32."""
    named = "\0".join((model_revision, adapter_revision, text))
    return tuple(float(byte) for byte in hashlib.sha256(named.encode()).digest()[:DIMS])


def _answer(request: ipc.Request) -> ipc.Reply:
    match request:
        case ipc.Ping() | ipc.Unload() | ipc.Batches():
            return ipc.Pong(request.id)
        case ipc.Load() if request.config["source"].get("package") == UNLOADABLE:
            return ipc.Failed(
                id=request.id, code="MODEL_LOAD_FAILED", message="its weights are no weights"
            )
        case ipc.Load():
            return ipc.Loaded(
                id=request.id, revision=request.revision, accepts="text", cost_unit="bytes4"
            )
        case ipc.LoadAdapter():
            return ipc.AdapterLoaded(request.id, request.adapter)
        case ipc.RunBatch():
            adapter = request.adapter.revision if request.adapter is not None else ""
            values = [
                value
                for item in request.inputs
                for value in echo_vector(request.model_revision, adapter, _text(item))
            ]
            packed = struct.pack(f"<{len(values)}f", *values)
            answers = ipc.DenseAnswers(DIMS, packed)
            return ipc.BatchDone(id=request.id, answers=answers, inference_ms=0.1)
    assert_never(request)


def _text(item: ipc.Input) -> str:
    assert isinstance(item, ipc.TextInput), "the load sends texts"
    return item.text


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(ipc.encode(ipc.Hello(pid=os.getpid(), device="cpu", backends=(BACKEND,))))
    with contextlib.suppress(EOFError, OSError):
        while True:
            (size,) = ipc.FRAME_HEADER.unpack(await reader.readexactly(4))
            request = ipc.decode_request(await reader.readexactly(size))
            writer.write(ipc.encode(_answer(request)))
            await writer.drain()
    writer.transport.abort()


async def _listen(path: Path) -> None:
    server = await asyncio.start_unix_server(_serve, path)
    await server.serve_forever()


def main() -> None:
    """The entry point of the process."""
    path = Path(sys.argv[1])
    path.unlink(missing_ok=True)
    asyncio.run(_listen(path))


if __name__ == "__main__":
    main()
