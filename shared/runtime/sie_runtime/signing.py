"""Ed25519: signing a position, and checking a signature.

*shell* over the `cryptography` package, and the only place that calls it. Promises that a wrong
key, message or signature of any length is a plain False.
"""

import functools

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sie_core.trust import Trust
from sie_schemas.entry import Entry
from sie_schemas.signature import PublicKey, Signature, key_id_of, signed_bytes

__all__ = ["SigningKey", "first_trust", "verify"]


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
    """True if the key signed the message."""
    try:
        _key(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def first_trust(pinned: str = "") -> Trust:
    """The trust of a reader that has not met its writer yet: a pinned key in hex, or none.

    Raises `ValueError` for what is no key.
    """
    return Trust(verify, bytes.fromhex(PublicKey.parse(pinned).public) if pinned else None)


@functools.lru_cache(maxsize=64)
def _key(public: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public)
