"""Revisions: the identity of what serves an answer.

*pure.* A model revision is the digest of everything in a model's document that can change an answer
of one profile. That is its identity, its pinned source, its tasks and limits, and that profile. It
is not moved by other profiles, aliases or placement (pool), so a change there invalidates nothing.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from sie_schemas import canonical

__all__ = ["adapter_revision", "model_revision", "profile_config"]

_MODEL_DOMAIN: Final = b"sie/model-revision/v1\0"
_ADAPTER_DOMAIN: Final = b"sie/adapter-revision/v1\0"
_PLACEMENT: Final = frozenset({"profiles", "pool", "aliases", "description"})


def profile_config(document: Mapping[str, Any], profile: str) -> dict[str, Any]:
    """The profile-resolved config: the document without placement, with one profile.

    Raises `KeyError` for a profile that the document does not have.
    """
    resolved = {name: value for name, value in document.items() if name not in _PLACEMENT}
    resolved["profile"] = document["profiles"][profile]
    resolved["profile_name"] = profile
    return resolved


def model_revision(document: Mapping[str, Any], profile: str) -> str:
    """Hex SHA-256 of the profile-resolved config."""
    body = canonical.dumps(profile_config(document, profile))
    return hashlib.sha256(_MODEL_DOMAIN + body).hexdigest()


def adapter_revision(document: Mapping[str, Any]) -> str:
    """Hex SHA-256 of an adapter's document."""
    return hashlib.sha256(_ADAPTER_DOMAIN + canonical.dumps(dict(document))).hexdigest()
