"""Inspections of repositories of the hub, for the console: their contents, and how they would run.

*shell.* A process of its own asks the hub. It has the variables that lead there, and nothing else
of the writer's environment. Promises a bound of time, of size and of number. The process has ended
when its answer is given. It is the inspection of `sie inspect`, whose code stands above this
package: it is started by its name.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec

from sie_schemas.errors import Later, OurFault, error_for
from sie_schemas.malformed import MALFORMED

__all__ = ["InspectBody", "Inspections"]

_PROGRAM: Final = (sys.executable, "-I", "-m", "sie_cli.models.inspecting")
_AT_ONCE_MAX: Final = 2
"""Each is a process that asks the hub; people add models one by one."""
_WITHIN_S: Final = 60.0
"""Some repositories have a vocabulary of tens of MB to be fetched."""
_ANSWER_BYTES_MAX: Final = 1024 * 1024
"""The facts of one repository, many times over."""
_HUB: Final = ("HF_ENDPOINT", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "HF_HUB_OFFLINE")
_NETWORK: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_SYSTEM: Final = ("HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_INHERITED: Final = (*_HUB, *_NETWORK, *map(str.lower, _NETWORK), *_SYSTEM)


class InspectBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One repository, and the words that its files may not say."""

    target: Annotated[str, msgspec.Meta(max_length=200)]
    revision: Annotated[str, msgspec.Meta(max_length=200)] = ""
    adapter_of: Annotated[str, msgspec.Meta(max_length=200)] = ""
    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    task: Literal["encode", "extract", "score"] | None = None
    template: Annotated[str, msgspec.Meta(max_length=8000)] = ""


class Inspections:
    """The inspections of one sie-config."""

    def __init__(self, program: Sequence[str] = _PROGRAM, *, within_s: float = _WITHIN_S) -> None:
        self._program = tuple(program)
        self._within_s = within_s
        self._running = 0

    async def inspect(self, body: InspectBody) -> dict[str, Any]:
        """All that was found. Raises `SIEError`, with the cure."""
        if self._running >= _AT_ONCE_MAX:
            raise Later(
                f"{_AT_ONCE_MAX} repositories are being inspected already; try again in a moment",
                code="RESOURCE_EXHAUSTED",
            )
        self._running += 1
        try:
            found = await self._ask(body)
        finally:
            self._running -= 1
        error = found.pop("error", None)
        if error is not None:
            raise error_for(error["code"], error["message"])
        return found

    async def _ask(self, body: InspectBody) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *self._program,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=_ANSWER_BYTES_MAX,
            env={name: os.environ[name] for name in _INHERITED if name in os.environ},
            cwd="/",
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(self._within_s):
                # Its stdin stays open: it ends when that does.
                process.stdin.write(msgspec.json.encode(body) + b"\n")
                line = await process.stdout.readline()
            found: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
            return found
        except TimeoutError as error:
            raise Later(
                f"the hub did not give {body.target[:100]} within {self._within_s:g} s; try again"
            ) from error
        except (*MALFORMED, ValueError, OSError) as error:
            raise OurFault("the process that inspects ended without an answer") from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.stdin.close()
            await process.wait()
