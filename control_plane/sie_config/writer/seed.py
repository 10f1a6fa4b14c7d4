"""The seed: what a new log holds before anybody wrote to it.

*pure.* One bundle that runs every built-in backend of models and one pool on the processor, as one
entry, so that a first model can be registered and served.
"""

from typing import Final

from sie_schemas.documents import admit_document
from sie_schemas.entry import Change, put

__all__ = ["SEED"]

_BUNDLE: Final = admit_document(
    "bundle",
    {
        "name": "default",
        "backends": [
            "transformer",
            "cross-encoder",
            "token-classification",
            "onnx-cross-encoder",
            "spacy",
        ],
        "description": "Every backend of models that is built in.",
    },
)
_POOL: Final = admit_document(
    "pool",
    {"name": "default", "machine_profiles": ["cpu"], "description": "The first pool."},
)

SEED: Final[tuple[Change, ...]] = (
    put("bundle", "default", _BUNDLE),
    put("pool", "default", _POOL),
)
"""The changes of a new log's seed entry."""
