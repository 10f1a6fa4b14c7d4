"""The file of the private key that signs a log: PKCS #8 in PEM, as `openssl genpkey` writes it.

*shell.* Beside the log, or where a setting says: a mounted secret. Promises that a key is made only
for a log that has none, and that only its owner may read it. It is on disk, whole, before it has
its name and signs anything. A change of keys is in two steps, so that a crash between them leaves
both keys here.
"""

import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sie_config.log.replay import Replayed
from sie_core.trust import keys_of
from sie_runtime.signing import SigningKey
from sie_schemas.errors import FixRequest, Untrusted

__all__ = ["begin_change", "end_change", "key_of_log", "key_path", "make_key", "read_key"]

_MAKING: Final = ".making"
_NEXT: Final = ".next"


def key_path(log: Path) -> Path:
    """The path of a log file's key, unless a setting says otherwise."""
    return log.with_name(log.name + ".key")


def key_of_log(path: Path, replayed: Replayed) -> SigningKey:
    """The key that signs a log: made with a new log, else read.

    Where it is missing, a key that signs nothing is given: the log can be read, and the writer says
    why it does not write. Raises `Untrusted` for a file that is no key, or that others may read.
    """
    key = read_key(path)
    if replayed.last is None and replayed.damage is None:
        return key if key is not None else make_key(path)
    waiting = path.with_name(path.name + _NEXT)
    successor = read_key(waiting)
    if successor is not None and list(keys_of(replayed.lineage))[-1:] == [successor.key_id]:
        # The change of keys is in the log, and a crash came before its last step.
        end_change(path)
        return successor
    return key if key is not None else SigningKey.generate()


def read_key(path: Path) -> SigningKey | None:
    """The key in a file; None if there is no file. Raises `Untrusted`."""
    try:
        data = path.read_bytes()
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Untrusted(f"the signing key {path} cannot be read: {error.strerror}") from error
    if mode & 0o007:
        raise Untrusted(f"anybody may read the signing key {path}: chmod o= it, or make another")
    try:
        private = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Untrusted(f"{path} is no private key in PEM without a password: {error}") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise Untrusted(f"{path} is no Ed25519 key: `openssl genpkey -algorithm ed25519` makes one")
    return SigningKey(private)


def make_key(path: Path, key: SigningKey | None = None) -> SigningKey:
    """Make a key where there is none, or keep this one. Raises `FixRequest` if there is one."""
    key = key or SigningKey.generate()
    data = key.private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    making = path.with_name(path.name + _MAKING)
    try:
        # A crash left it before it had its name: it signed nothing.
        making.unlink(missing_ok=True)
        descriptor = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                # On the disk before any entry is signed: the log's own commit is synced, and after
                # a power cut it would name a key that nobody has.
                os.fsync(file.fileno())
            # A link, and no new name for it, which would replace a key that came meanwhile.
            os.link(making, path)
        finally:
            making.unlink(missing_ok=True)
    except FileExistsError as error:
        raise FixRequest(f"{path} is there already; a key is never replaced") from error
    except OSError as error:
        raise FixRequest(f"no key can be made at {path}: {error.strerror}") from error
    _sync(path.parent)
    return key


def begin_change(path: Path) -> SigningKey:
    """The key that is to follow, beside the one of today; one that waits there is taken up."""
    waiting = path.with_name(path.name + _NEXT)
    return read_key(waiting) or make_key(waiting)


def end_change(path: Path) -> None:
    """Put the next key in the place of the old one, once the log has it."""
    path.with_name(path.name + _NEXT).replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
