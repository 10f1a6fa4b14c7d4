"""Inspections of repositories of the hub, for the console: their contents, and how they would run.

*shell.* A process apart asks the hub (`asked_process`), with the variables that lead there. They
are bounded in number too. It is the inspection of `sie inspect`, whose code stands above this
package: it is started by its name.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from sie_config.documents.asked_process import answer_of
from sie_schemas.errors import Later, error_for

__all__ = ["InspectBody", "Inspections", "Models"]

Models: TypeAlias = Callable[[str], bytes | None]
"""The document of a model of the log, as JSON, by its id; None where there is none."""

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

    async def inspect(self, body: InspectBody, models: Models) -> dict[str, Any]:
        """All that was found, of an adapter over its model. Raises `SIEError`, with the cure."""
        if self._running >= _AT_ONCE_MAX:
            raise Later(
                f"{_AT_ONCE_MAX} repositories are being inspected already; try again in a moment",
                code="RESOURCE_EXHAUSTED",
            )
        self._running += 1
        try:
            wanted = body.adapter_of
            found = await self._ask(body, models, wanted)
            if (wants := found.get("wants")) and wants != wanted:
                # The config of an adapter names its model, which nobody knew before it was read.
                found = await self._ask(body, models, str(wants))
        finally:
            self._running -= 1
        error = found.pop("error", None)
        if error is not None:
            raise error_for(error["code"], error["message"])
        return found

    async def _ask(self, body: InspectBody, models: Models, wanted: str) -> dict[str, Any]:
        document = models(wanted) if wanted else None
        told = None if document is None else msgspec.Raw(document)
        try:
            return await answer_of(
                self._program,
                {"wanted": body, "log": {wanted: told} if wanted else {}},
                dict[str, Any],
                within_s=self._within_s,
                bytes_max=_ANSWER_BYTES_MAX,
                inherited=_INHERITED,
            )
        except TimeoutError as error:
            raise Later(
                f"the hub did not give {body.target[:100]} within {self._within_s:g} s; try again"
            ) from error
