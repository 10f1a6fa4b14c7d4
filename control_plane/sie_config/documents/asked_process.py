"""A process apart that answers one question: what may hang, or open what is not ours, runs there.

*shell.* One line of JSON goes in, one comes out. Promises a bound of time and of size. The process
has ended when its answer is given, and when nobody waits for it any more. It ends with its stdin.
It has the variables that are named, and nothing else of the writer's environment: there are
passwords in it.
"""

import asyncio
import contextlib
import os
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import msgspec

from sie_runtime.process.waiting import first_of
from sie_schemas.errors import Later, OurFault
from sie_schemas.malformed import MALFORMED

__all__ = ["answer_of", "while_wanted"]

T = TypeVar("T")


async def answer_of(
    program: Sequence[str],
    question: object,
    kind: type[T],
    *,
    within_s: float,
    bytes_max: int,
    inherited: Sequence[str],
) -> T:
    """Ask, and read an answer of this type. Raises `TimeoutError`, and `OurFault` where the process
    ends without one."""
    process = await asyncio.create_subprocess_exec(
        *program,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=bytes_max,
        # Only what is named: the keys of this process are not for one that reads strangers' files.
        env={name: os.environ[name] for name in inherited if name in os.environ},
        cwd="/",
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(within_s):
            # Its stdin stays open: it ends when that does.
            process.stdin.write(msgspec.json.encode(question) + b"\n")
            line = await process.stdout.readline()
        return msgspec.json.decode(line, type=kind)
    # It is an `OSError`, and not what those below mean.
    except TimeoutError:
        raise
    except (*MALFORMED, ValueError, OSError) as error:
        raise OurFault("the process that was asked ended without an answer") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.stdin.close()
        await process.wait()


async def while_wanted(
    asking: Coroutine[Any, Any, T], *ends: Coroutine[Any, Any, object], what: str
) -> T:
    """The answer, unless one of the ends comes first. Raises `Later` then, when all is over."""
    task = asyncio.ensure_future(asking)
    try:
        await first_of(asyncio.wait([task]), *ends)
        if not task.done():
            raise Later(f"{what} was given up", code="NOT_READY")
        return task.result()
    finally:
        task.cancel()
        # Not before its process has ended: who comes next takes its place.
        await asyncio.wait([task])
