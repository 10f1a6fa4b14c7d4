"""The widths of a model's vectors, for clients that take them for a part of its configuration.

*shell.* Owns what was measured, by revision. Only a loaded model knows its widths: where no worker
has it loaded, one word is encoded, and the vectors tell.
"""

from collections.abc import Callable
from typing import Final, cast

from sie_core.resolver import Resolver
from sie_gateway.faces.face import answered_items, encode_request
from sie_gateway.faces.native import cold_error
from sie_gateway.fleet.routing import Cold, Wanted
from sie_gateway.request.inference import Inference, new_request_id
from sie_gateway.request.requests import Limits
from sie_schemas.items import OutputType

__all__ = ["Widths"]

_KEPT_MAX: Final = 10_000
"""One for each model of the largest registry that is measured."""
_WORD: Final = "a"


class Widths:
    """One for each gateway process."""

    def __init__(
        self,
        inference: Inference,
        resolver: Callable[[], Resolver],
        limits: Limits,
        *,
        retry_after_s: float,
    ) -> None:
        self._inference = inference
        self._resolver = resolver
        self._limits = limits
        self._retry_after_s = retry_after_s
        self._found: dict[str, dict[str, int]] = {}

    async def of(self, spec: str) -> dict[str, int] | None:
        """The widths by output; None for a model without vectors. Raises `SIEError`, PROVISIONING
        where no worker is ready."""
        model = self._resolver().resolve(spec)
        if "encode" not in model.operations:
            return None
        found = self._found.get(model.revision)
        if found is None:
            if len(self._found) >= _KEPT_MAX:
                self._found.clear()
            found = {}
            for output in model.outputs:
                found[output] = await self._measured(spec, cast(OutputType, output))
            # Once all are measured: a part of them would be taken for the whole from then on.
            self._found[model.revision] = found
        return found

    async def _measured(self, spec: str, output: OutputType) -> int:
        asked = encode_request(_WORD, {}, self._limits, field="items", output=output)
        wanted = Wanted(spec=spec, operation="encode", pool=None, machine_profile=None, lora=None)
        answer = await self._inference.answer(asked, wanted, request_id=new_request_id())
        if isinstance(answer, Cold):
            raise cold_error(answer, retry_after_s=self._retry_after_s)
        vector = answered_items(answer)[0][output]
        return int(vector["token_dims" if output == "multivector" else "dims"])
