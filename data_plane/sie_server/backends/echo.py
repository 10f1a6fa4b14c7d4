"""The backend `echo`: gives each text back as a vector, and computes nothing.

*shell* over nothing. For load tests: with it the path to the device is all that a request costs,
and every answer can be checked. The vector is the text: its UTF-8 bytes as numbers, cut or filled
with zeros to the option `dims`. Wants no weights; the source of its model may be any installed
package.
"""

from typing import Final

import numpy as np

from sie_schemas.ipc import DenseAnswers, Loaded, RunBatch, TextInput
from sie_server.backends.backend import (
    Backend,
    DeviceSpec,
    ModelSpec,
    WithoutAdapters,
    require_only,
    take,
    unit_length,
)

__all__ = ["Echo", "load"]

_DIMS: Final = 64
"""Small beside a model's: what is measured with it is the path."""


def load(spec: ModelSpec, device: DeviceSpec) -> Backend:
    """Check the profile. Raises MODEL_LOAD_FAILED."""
    require_only(spec, "encode", {"dense"})
    return Echo(spec, int(spec.profile.options.get("dims", _DIMS)))


class Echo(WithoutAdapters):
    """One model that answers with what it was asked."""

    name = "echo"

    def __init__(self, spec: ModelSpec, dims: int) -> None:
        self._spec = spec
        self._dims = dims

    def describe(self) -> Loaded:
        """Texts in, dense vectors out; a text's cost is a quarter of its bytes."""
        return Loaded(
            id=0,
            revision=self._spec.revision,
            accepts="text",
            cost_unit="bytes4",
            execution="packed",
            dims={"dense": self._dims},
            batch_invariant=self._spec.profile.batch_invariant,
        )

    def memory_bytes(self) -> int:
        """None are held."""
        return 0

    def run(self, batch: RunBatch) -> DenseAnswers:
        """Each text's bytes as float32, `dims` of them."""
        self.require(batch, "encode", {"dense"})
        texts = [given.text for given in take(batch, TextInput)]
        rows = b"".join(
            text.encode("utf-8", "replace")[: self._dims].ljust(self._dims, b"\0") for text in texts
        )
        vectors = np.frombuffer(rows, "u1").astype("<f4").reshape(len(texts), self._dims)
        if unit_length(batch, self._spec.model_id, {"dense"}):
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1)
        return DenseAnswers(self._dims, vectors.tobytes())
