"""Ed25519: signing a position, and checking a signature.

*shell* over the `cryptography` package, and the only place that calls it. Promises that a wrong
key, message or signature of any length is a plain False.
"""

import functools
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sie_core.trust import Trust
from sie_schemas.entry import Entry
from sie_schemas.signature import PublicKey, Signature, key_id_of, signed_bytes

__all__ = ["SigningKey", "first_trust", "verify"]

_REMEMBERED: Final = 1024
_REMEMBERED_BYTES_MAX: Final = 512
"""The bytes of a position are some 220; what somebody made longer is not kept."""


class SigningKey:
    """The private key of a writer, in memory."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public: bytes = private.public_key().public_bytes_raw()
        self.key_id: str = key_id_of(self.public)

    @classmethod
    def generate(cls) -> "SigningKey":
        """A new one, from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def of_seed(cls, seed: bytes) -> "SigningKey":
        """The key of 32 bytes."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def private(self) -> Ed25519PrivateKey:
        """The key itself, to be written to its file."""
        return self._private

    @property
    def document(self) -> PublicKey:
        """The key as a `key.put` says it."""
        return PublicKey(self.public.hex())

    def sign(self, log_id: str, epoch: int, hash: str, digest: str) -> Signature:
        """The signature of a position."""
        message = signed_bytes(log_id, epoch, hash, digest, self.key_id)
        return Signature(self.key_id, self._private.sign(message).hex())

    def signed(self, entry: Entry) -> Entry:
        """The entry with the signature of its position."""
        signature = self.sign(entry.log_id, entry.epoch, entry.hash, entry.state_digest)
        return msgspec.structs.replace(entry, signature=signature)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """True if the key signed the message.

    One position is told by its entry, by bookmarks and by the report of each replica: it is
    worked out once (0.1 ms).
    """
    if len(message) + len(signature) > _REMEMBERED_BYTES_MAX:
        return _verified.__wrapped__(public, message, signature)
    return _verified(public, message, signature)


def first_trust(pinned: str = "") -> Trust:
    """The trust of a reader that has not met its writer yet: a pinned key in hex, or none.

    Raises `ValueError` for what is no key.
    """
    return Trust(verify, bytes.fromhex(PublicKey.parse(pinned).public) if pinned else None)


@functools.lru_cache(maxsize=_REMEMBERED)
def _verified(public: bytes, message: bytes, signature: bytes) -> bool:
    # A check takes 90 µs, and each head is told by several ways and by each replica.
    try:
        _key(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@functools.lru_cache(maxsize=64)
def _key(public: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public)
