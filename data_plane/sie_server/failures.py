"""The error of a load that cannot succeed, made in one place.

*types.*
"""

from sie_schemas.errors import OurFault

__all__ = ["load_failed"]


def load_failed(message: str) -> OurFault:
    """A model cannot be loaded: the message says why and what to do."""
    return OurFault(message, code="MODEL_LOAD_FAILED")
