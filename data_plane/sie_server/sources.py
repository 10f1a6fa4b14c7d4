"""Where weights come from: a source becomes a folder whose pinned files were verified.

*shell.* Promises that a folder it gives back is at the pinned version or commit, that each file of
a manifest has its hash, and each file of a hub the hash that the hub states. A file that holds
weights and is not in the manifest is refused when a backend asks for it (`Weights.file`). Nothing
here runs code of a source: a package is located, never imported.
"""

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import huggingface_hub
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from sie_schemas.documents import HubSource, PackageSource, PathSource, Source
from sie_schemas.errors import OurFault

__all__ = ["Weights", "resolve"]

_HUB_PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model", "*.onnx")
"""What is fetched of a hub repository: never pickles, never code."""

_HASH_BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Weights:
    """A folder of weights. `pinned` names the verified files; None where the source itself pins."""

    folder: Path
    pinned: frozenset[str] | None

    def file(self, name: str, *, cure: str = "") -> Path:
        """The path of a file that holds weights. Raises MODEL_LOAD_FAILED if absent or unpinned."""
        path = self.folder / name
        if not path.is_file():
            raise _refused(f"{name} is not in {self.folder}{'; ' + cure if cure else ''}")
        if self.pinned is not None and name not in self.pinned:
            raise _refused(
                f"{name} in {self.folder} is not in the source's manifest; "
                "add its SHA-256 there, so that the weights are pinned"
            )
        return path


def resolve(source: Source) -> Weights:
    """The verified folder of a source. Raises MODEL_LOAD_FAILED with reason and cure."""
    match source:
        case PathSource():
            folder = Path(source.path)
            _require_folder(folder, "put the weights there on this worker, or correct the path")
            _verify(folder, source.manifest)
            return Weights(folder, frozenset(source.manifest))
        case PackageSource():
            folder = _package_folder(source)
            if source.manifest is None:
                return Weights(folder, None)
            _verify(folder, source.manifest)
            return Weights(folder, frozenset(source.manifest))
        case HubSource():
            return Weights(_hub_folder(source), None)
        case _:
            assert_never(source)


def _package_folder(source: PackageSource) -> Path:
    cure = f"install {source.distribution}=={source.version} where this worker runs"
    try:
        version = importlib.metadata.version(source.distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise _refused(
            f"the distribution {source.distribution} is not installed; {cure}"
        ) from error
    if version != source.version:
        raise _refused(
            f"{source.distribution} is installed at {version}, pinned is another; {cure}"
        )
    spec = importlib.util.find_spec(source.package)
    locations = None if spec is None else spec.submodule_search_locations
    if not locations:
        raise _refused(f"{source.distribution} gives no package named {source.package}; {cure}")
    folder = Path(next(iter(locations)))
    if source.path is not None:
        folder /= source.path
    _require_folder(folder, "correct the source's `path`")
    return folder


def _hub_folder(source: HubSource) -> Path:
    what = f"{source.id} at {source.revision[:12]}"
    try:
        folder = huggingface_hub.snapshot_download(
            source.id, revision=source.revision, allow_patterns=list(_HUB_PATTERNS)
        )
    except GatedRepoError as error:
        raise _refused(
            f"{what} is gated: accept its terms on the hub with the account of this worker, and "
            "set HF_TOKEN to a token of it"
        ) from error
    except RepositoryNotFoundError as error:
        raise _refused(
            f"there is no {source.id} on the hub, or it is private: correct the id, or set "
            "HF_TOKEN to a token that may read it"
        ) from error
    except RevisionNotFoundError as error:
        raise _refused(
            f"{source.id} has no commit {source.revision}: pin one that it has"
        ) from error
    except LocalEntryNotFoundError as error:
        raise _refused(
            f"{what} is not in the hub cache and the hub cannot be reached; allow it "
            "(HF_HUB_OFFLINE unset), fill the cache, or use a path source"
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise _refused(
            f"{what} cannot be fetched: {error}; check the network, the disk and HF_TOKEN"
        ) from error
    _verify_blobs(Path(folder), what)
    return Path(folder)


def _verify_blobs(folder: Path, what: str) -> None:
    """The hub's cache names each file's bytes by their hash: hold them to it."""
    for path in sorted(folder.rglob("*")):
        blob = path.resolve()
        # Where links cannot be made, the cache keeps plain copies without a hash.
        if not path.is_symlink() or _is_blob(blob):
            continue
        blob.unlink()
        raise _refused(
            f"{path.name} of {what} does not have the hash that the hub states for it; the damaged "
            "copy was removed: load again to fetch it anew"
        )


def _is_blob(blob: Path) -> bool:
    match len(blob.name):
        case 64:
            return _sha256(blob) == blob.name
        case 40:
            digest = hashlib.sha1(b"blob %d\0" % blob.stat().st_size, usedforsecurity=False)
            digest.update(blob.read_bytes())
            return digest.hexdigest() == blob.name
        case _:
            # A mirror may state another kind of tag, which says nothing of the bytes.
            return True


def _require_folder(folder: Path, cure: str) -> None:
    if not folder.is_dir():
        raise _refused(f"the folder {folder} does not exist; {cure}")


def _verify(folder: Path, manifest: Mapping[str, str]) -> None:
    for name, expected in manifest.items():
        path = folder / name
        try:
            found = _sha256(path)
        except OSError as error:
            raise _refused(
                f"{name} of the manifest cannot be read in {folder} ({error.strerror}); "
                "restore the file, or correct the manifest"
            ) from error
        if found != expected:
            raise _refused(
                f"{path} has SHA-256 {found[:12]}…, the manifest says {expected[:12]}…; "
                "restore the file, or write the new hash to the config"
            )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _refused(message: str) -> OurFault:
    return OurFault(message, code="MODEL_LOAD_FAILED")
