"""The hub's cache on this host: pinned revisions fetched, verified, and kept within a bound.

*shell*: shares the cache's folder with every other process of the host. Promises that a file has
the hash that the hub states for it, and that no revision that any `sie-server` uses is removed. Who
uses one holds a pin of it: a lock on a file that the system takes back from a process that dies.
Nothing of a hub is run here. A pickle is fetched only where nothing else holds those weights
(`pickles`), and code only of a revision whose own code the operator allows (`may_run_code`).
"""

import dataclasses
import fcntl
import gc
import glob
import logging
import os
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import huggingface_hub
from huggingface_hub import CachedRepoInfo, CachedRevisionInfo, HFCacheInfo, constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from sie_layouts.architectures.tensors.pickled import pickles_wanted
from sie_layouts.facts import WORDS
from sie_schemas.documents import HubSource
from sie_server.failures import load_failed
from sie_server.weights.file_hashes import is_blob
from sie_server.weights.graph_files import absent_beside
from sie_server.weights.hub_names import hold_to_plain_names
from sie_server.weights.hub_progress import Downloads
from sie_server.weights.hub_reach import files_of
from sie_server.weights.hub_tokens import token_of, token_place
from sie_server.weights.pickles import (
    convert_pickles,
    pickles_at,
    still_whole,
)

__all__ = ["FolderPin", "HubCache", "hub_folder", "pinned_name"]

_LOG: Final = logging.getLogger(__name__)

_WORDS: Final = tuple(f"*{ending}" for ending in WORDS)
"""Configs and tokenizers."""
_PATTERNS: Final = (*_WORDS, "*.safetensors")
"""The files fetched of a hub repository; code only where it is allowed."""
_GRAPHS: Final = "*.onnx"
"""Fetched only for who reads them, with what lies beside them: a repository often has the same
weights ten times as graphs."""


def pinned_name(source: HubSource) -> str:
    """A hub source as an operator names it: `<id>@<commit>`."""
    return f"{source.id}@{source.revision}"


class FolderPin:
    """A revision in the cache is in use for as long as this object lives."""

    def __init__(self, path: Path) -> None:
        descriptor = _lock_file(path)
        # A cache that cannot be written to needs no pin: nothing can be removed from it either.
        if descriptor is None:
            return
        weakref.finalize(self, _give_back, descriptor)
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            os.utime(descriptor)


class HubCache:
    """The place that hub sources come from; one for a process, for any of its threads."""

    def __init__(
        self,
        *,
        bytes_max: int = 0,
        progress_s: float = 0.0,
        own_code_allowed: Sequence[str] = (),
        pickles_allowed: bool = True,
    ) -> None:
        self._bytes_max = bytes_max
        self._pickles_allowed = pickles_allowed
        self._own_code_allowed = frozenset(own_code_allowed)
        """Revisions, as `pinned_name` writes them."""
        self.downloads: Final = Downloads(progress_s)

    def may_run_code(self, source: HubSource) -> bool:
        """True if the operator allows this very revision to run its own code."""
        return pinned_name(source) in self._own_code_allowed

    def fetch(
        self, source: HubSource, *, graphs: bool = False, weights: bool = True
    ) -> tuple[Path, FolderPin]:
        """The folder of a pinned revision, and the pin that keeps it there.

        `graphs` wants its ONNX graphs too; without `weights` only configs and tokenizers.

        Raises MODEL_LOAD_FAILED with reason and cure.
        """
        what = f"{source.id} at {source.revision[:12]}"
        _sweep()
        # Before the download: else it could be removed between the two.
        pin = FolderPin(_pin_file(_folder_name(source.id), source.revision))
        downloading = FolderPin(_download_file(_folder_name(source.id)))
        try:
            token = None if constants.is_offline_mode() else token_of(source)
            names = files_of(source, token)
            patterns = (*(_PATTERNS if weights else _WORDS), *([_GRAPHS] if graphs else ()))
            folder = self._download(source, what, patterns, names, token)
            beside = absent_beside(folder, names) if graphs and names is not None else ()
            if beside:
                self._download(source, what, [*map(glob.escape, beside)], names, token)
            if weights and not graphs:
                self._convert(source, what, folder, names, token)
        finally:
            del downloading
        if self._bytes_max:
            self._trim()
        return folder, pin

    def _convert(
        self,
        source: HubSource,
        what: str,
        folder: Path,
        names: frozenset[str] | None,
        token: str | None,
    ) -> None:
        """Have the weights that a revision holds as pickles alone as safetensors."""
        wanted = pickles_at(folder) if names is None else pickles_wanted(names)
        if not wanted:
            return
        with _alone(_convert_file(_folder_name(source.id))):
            if still_whole(folder, wanted):
                return
            if not self._pickles_allowed:
                raise load_failed(
                    f"the weights of {what} are a pickle ({wanted[0]}), which the setting "
                    "SIE_SERVER_PICKLED_WEIGHTS of this worker forbids to read; choose a revision "
                    "with safetensors"
                )
            if names is not None:
                self._download(source, what, wanted, names, token)
            convert_pickles(folder, wanted, what)

    def _download(
        self,
        source: HubSource,
        what: str,
        patterns: Sequence[str],
        names: frozenset[str] | None,
        token: str | None,
    ) -> Path:
        """Fetch and verify; `names` None takes what the cache has."""
        code = ("*.py",) if self.may_run_code(source) else ()
        hold_to_plain_names()
        try:
            with self.downloads.told(pinned_name(source)) as bars:
                folder = huggingface_hub.snapshot_download(
                    source.id,
                    revision=source.revision,
                    allow_patterns=[*patterns, *code],
                    tqdm_class=bars,
                    local_files_only=names is None,
                    token=token,
                )
        except GatedRepoError as error:
            raise load_failed(
                f"{what} is gated: accept its terms on the hub with the account of this worker, "
                f"and set {token_place(source)} to a token of it"
            ) from error
        except RepositoryNotFoundError as error:
            raise load_failed(
                f"there is no {source.id} on the hub, or it is private: correct the id, or set "
                f"{token_place(source)} to a token that may read it"
            ) from error
        except RevisionNotFoundError as error:
            raise load_failed(
                f"{source.id} has no commit {source.revision}: pin one that it has"
            ) from error
        except LocalEntryNotFoundError as error:
            raise load_failed(
                f"{what} is not in the hub cache and {_unreached()}, fill the cache, or use a "
                "path source"
            ) from error
        # A name that leads out of the cache is a ValueError of the library's.
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise load_failed(
                f"{what} cannot be fetched: {error}; check the network, the disk and "
                f"{token_place(source)}"
            ) from error
        _verify(Path(folder), what)
        return Path(folder)

    def _trim(self) -> None:
        """Remove the least recently used revisions that nobody uses, down to the bound."""
        # What left the device may still be in a cycle, and its pin with it.
        gc.collect()
        with _locked(_locks() / "trim") as alone:
            if not alone:
                return
            spared: set[Path] = set()
            while (info := huggingface_hub.scan_cache_dir()).size_on_disk > self._bytes_max:
                found = _oldest(info, spared)
                if found is None:
                    _LOG.warning(
                        "the hub cache holds %d bytes, more than the %d of hub_bytes_max, and all "
                        "of it is in use: raise the bound, or serve fewer models from this host",
                        info.size_on_disk,
                        self._bytes_max,
                    )
                    return
                repository, revision = found
                spared.add(revision.snapshot_path)
                _remove(info, repository, revision)


def _unreached() -> str:
    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE forbids to ask the hub: unset it"
    return (
        f"the hub at {constants.ENDPOINT} does not answer: let this worker reach it, set "
        "HF_ENDPOINT to a mirror"
    )


def _oldest(
    info: HFCacheInfo, spared: set[Path]
) -> tuple[CachedRepoInfo, CachedRevisionInfo] | None:
    candidates = [
        (repository, revision)
        for repository in info.repos
        if repository.repo_type == "model"
        for revision in repository.revisions
        if revision.snapshot_path not in spared
    ]
    return min(candidates, key=lambda found: _last_used(*found), default=None)


def _last_used(repository: CachedRepoInfo, revision: CachedRevisionInfo) -> float:
    """The time at which its last pin began or ended; when it came, where it never had one."""
    try:
        path = _pin_file(repository.repo_path.name, revision.commit_hash)
        return path.stat().st_mtime
    except OSError:
        return revision.last_modified


def _remove(info: HFCacheInfo, repository: CachedRepoInfo, revision: CachedRevisionInfo) -> None:
    name, commit = repository.repo_path.name, revision.commit_hash
    with (
        _locked(_pin_file(name, commit)) as unused,
        # A download of another revision may be about to use the same files.
        _locked(_download_file(name)) as quiet,
    ):
        if not (unused and quiet):
            return
        # Of this repository alone: a fork has the same commits.
        strategy = dataclasses.replace(info, repos=frozenset({repository})).delete_revisions(commit)
        _LOG.info(
            "%s at %s leaves the hub cache: %d bytes, the least recently used",
            repository.repo_id,
            commit[:12],
            strategy.expected_freed_size,
        )
        strategy.execute()


def _sweep() -> None:
    """Remove what killed downloads left: the hub's library begins each anew, and counts no part."""
    # Listed before a lock is taken: what another download begins meanwhile is not among them.
    for part in [*hub_folder().glob("models--*/blobs/*.incomplete")]:
        # `<hash>.<chance>.incomplete`; whoever fetches that hash holds this lock of the library's.
        lock = hub_folder() / ".locks" / part.parents[1].name / f"{Path(part.stem).stem}.lock"
        with _locked(lock) as nobody, suppress(OSError):
            if nobody:
                part.unlink(missing_ok=True)


def _lock_file(path: Path) -> int | None:
    """A descriptor of a lock file; None in a cache that cannot be written to."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        return None


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold a lock file alone; False where anybody else has it, in this process or another.

    False also in a cache that cannot be written to, from which nothing can be removed, and where
    the file system has no locks.
    """
    descriptor = _lock_file(path)
    if descriptor is None:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = True
    except OSError:
        alone = False
    try:
        yield alone
    finally:
        os.close(descriptor)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock file, and wait for it. A cache that cannot be written to has none."""
    descriptor = _lock_file(path)
    if descriptor is None:
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _give_back(descriptor: int) -> None:
    with suppress(OSError):
        os.utime(descriptor)
    os.close(descriptor)


def hub_folder() -> Path:
    """The folder of the hub's cache, whether or not it is there yet."""
    return Path(constants.HF_HUB_CACHE)


def _locks() -> Path:
    # The hub's library keeps its own locks here, and looks for no repositories.
    return hub_folder() / ".locks" / "sie"


def _pin_file(repository: str, commit: str) -> Path:
    return _locks() / repository / commit


def _download_file(repository: str) -> Path:
    return _locks() / repository / "downloading"


def _convert_file(repository: str) -> Path:
    return _locks() / repository / "converting"


def _folder_name(hub_id: str) -> str:
    return f"models--{hub_id.replace('/', '--')}"


def _verify(folder: Path, what: str) -> None:
    """The hub's cache names each file's bytes by their hash: hold them to it."""
    for path in sorted(folder.rglob("*")):
        blob = path.resolve()
        # Where links cannot be made, the cache keeps plain copies without a hash. A link that leads
        # nowhere is a file that is not there.
        if not path.is_symlink() or not blob.exists() or is_blob(blob):
            continue
        blob.unlink()
        raise load_failed(
            f"{path.name} of {what} does not have the hash that the hub states for it; the damaged "
            "copy was removed: load again to fetch it anew"
        )
