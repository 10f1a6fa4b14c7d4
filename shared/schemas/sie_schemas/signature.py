"""Signed positions: the writer's word for a place in its log.

*types.* A signature is Ed25519 over (log id, epoch, hash, state digest, key id). It is detached: it
travels and is stored beside an entry's bytes, so that no byte or hash of an entry depends on it.
It vouches for its entry and, by the chain, for every entry before it. Whether one is right is for
`sie_core.trust` to say.
"""

import functools
import hashlib
from typing import Final

import msgspec
from msgspec import Struct

__all__ = ["PublicKey", "Signature", "key_id_of", "signed_bytes"]

_POSITION_DOMAIN: Final = b"sie/position/v1\0"
_KEY_DOMAIN: Final = b"sie/key/v1\0"
_KEY_ID_DIGITS: Final = 32
"""128 bits of a hash: no two keys of one log collide."""
_PUBLIC_BYTES: Final = 32
"""Ed25519."""


class Signature(Struct, frozen=True, gc=False):
    """The key that signed, and its 64 bytes in hex."""

    key_id: str
    value: str


class PublicKey(Struct, frozen=True):
    """The document of a `key.put`: a key whose signatures count from the next entry on."""

    public: str
    """The 32 bytes in hex."""
    algorithm: str = "ed25519"

    @property
    def key_id(self) -> str:
        """The id by which signatures call it."""
        return key_id_of(bytes.fromhex(self.public))

    @classmethod
    def parse(cls, text: str) -> "PublicKey":
        """A key from its hex digits. Raises `ValueError`."""
        if len(bytes.fromhex(text)) != _PUBLIC_BYTES:
            raise ValueError(f"an Ed25519 public key is {2 * _PUBLIC_BYTES} hex digits")
        return cls(text.lower())

    @classmethod
    def read(cls, document: bytes) -> "PublicKey":
        """A key from the document of a `key.put`. Raises `ValueError`."""
        found = msgspec.json.decode(document, type=cls)
        if found.algorithm != "ed25519":
            raise ValueError(f"keys of kind {found.algorithm!r} are not known to this release")
        return cls.parse(found.public)


@functools.lru_cache(maxsize=64)
def key_id_of(public: bytes) -> str:
    """The short name of a public key: half of a SHA-256, in hex."""
    return hashlib.sha256(_KEY_DOMAIN + public).hexdigest()[:_KEY_ID_DIGITS]


def signed_bytes(log_id: str, epoch: int, hash: str, digest: str, key_id: str) -> bytes:
    """The bytes to sign: each field with its length, so that none runs into the next."""
    fields = (log_id, str(epoch), hash, digest, key_id)
    parts = [field.encode("utf-8", "surrogatepass") for field in fields]
    return _POSITION_DOMAIN + b"".join([b"%d:%b," % (len(part), part) for part in parts])
