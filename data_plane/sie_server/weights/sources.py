"""The sources of weights: a source becomes a folder whose pinned files were verified.

*shell.* Promises that a folder it gives back is at the pinned version or commit. Each file of a
manifest has its hash, and each file of a hub the hash that the hub states. A file that holds
weights and is not in the manifest is refused when a backend asks for it (`Weights.file`). Nothing
here runs code of a source: a package is located, never imported.
"""

import importlib.metadata
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, assert_never

from sie_schemas.documents import HubSource, PackageSource, PathSource, Source
from sie_server.failures import load_failed
from sie_server.weights.file_hashes import Stamp, sha256_as_of, stamp_of
from sie_server.weights.hub_cache import FolderPin, HubCache, pinned_name

__all__ = ["Weights", "resolve"]

_ENTRIES_MAX: Final = 20_000
"""As many as sie-config looks at where it makes a manifest."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A folder of weights. `pinned` names the verified files; None where the source itself pins."""

    folder: Path
    pinned: frozenset[str] | None
    pin: FolderPin | None = None
    """The pin that keeps a folder of the hub's cache in place while this object lives."""
    hub_name: str = ""
    """`<id>@<commit>` where they came from a hub."""
    may_run_code: bool = False
    """True if the operator allows this revision to run its own code."""
    beside: Mapping[str, "Weights"] = field(default_factory=dict)
    """Tokenizers and configs of other repositories, by name; no weights."""
    within: Path | None = None
    """The folder of the source itself, where this is one inside it."""
    as_verified: Mapping[Path, Stamp] = field(default_factory=dict)
    """The verified files, as they were before they were hashed."""
    written_once: bool = False
    """True if whoever put the files there writes into none of them: others take their places."""

    def file(self, name: str, *, cure: str = "") -> Path:
        """The path of a file that holds weights.

        Raises MODEL_LOAD_FAILED if it is absent, unpinned, or outside the folder: the name may come
        from a file of the source.
        """
        if name.startswith("/") or ".." in name.split("/"):
            raise load_failed(f"{name} is outside {self.folder}: weights are read from the folder")
        path = self.folder / name
        if not path.is_file():
            raise load_failed(f"{name} is not in {self.folder}{'; ' + cure if cure else ''}")
        if self.pinned is not None and name not in self.pinned:
            raise load_failed(
                f"{name} in {self.folder} is not in the source's manifest; "
                "add its SHA-256 there, so that the weights are pinned"
            )
        return path

    def check_unchanged(self) -> None:
        """Raises MODEL_LOAD_FAILED where a file was written or replaced since it was verified."""
        for path, then in self.as_verified.items():
            try:
                is_same = stamp_of(path, self.within or self.folder) == then
            except OSError:
                is_same = False
            if not is_same:
                raise load_failed(
                    f"{path} was changed while it was read: restore it, or write the new hash to "
                    "the config, and load it again"
                )

    def inside(self, folder: str) -> "Weights":
        """A folder inside this one, with the files that are pinned there; "" is this one.

        A model's own code runs only from the folder of a source itself.
        """
        if not folder:
            return self
        prefix = f"{folder}/"
        pinned = self.pinned and frozenset(
            name.removeprefix(prefix) for name in self.pinned if name.startswith(prefix)
        )
        return replace(
            self,
            folder=self.folder / folder,
            pinned=pinned,
            may_run_code=False,
            within=self.within or self.folder,
        )


def resolve(source: Source, hub: HubCache | None = None, *, graphs: bool = False) -> Weights:
    """The verified folder of a source. Raises MODEL_LOAD_FAILED with reason and cure.

    `hub` is where a hub source comes from: by default a cache without a bound. `graphs` fetches the
    ONNX graphs of a repository too.
    """
    match source:
        case PathSource():
            # Where a link led at first: it may lead elsewhere while the files are read.
            folder = Path(os.path.realpath(source.path))
            _require_folder(folder, "put the weights there on this worker, or correct the path")
            verified = _verify(folder, source.manifest)
            _require_plain(folder)
            return Weights(folder, frozenset(source.manifest), as_verified=verified)
        case PackageSource():
            folder, installed = _package_folder(source)
            if source.manifest is None:
                return Weights(folder, None, written_once=installed)
            verified = _verify(folder, source.manifest)
            pinned = frozenset(source.manifest)
            return Weights(folder, pinned, as_verified=verified, written_once=installed)
        case HubSource():
            hub = hub or HubCache()
            folder, pin = hub.fetch(source, graphs=graphs)
            others = (source.beside or {}).items()
            beside = {name: _beside(hub, source, name, at) for name, at in others}
            code = hub.may_run_code(source)
            name = pinned_name(source)
            return Weights(folder, None, pin, name, code, beside, written_once=True)
        case _:
            assert_never(source)


def _beside(hub: HubCache, of: HubSource, name: str, commit: str) -> Weights:
    source = HubSource(type="hub", id=name, revision=commit, token=of.token)
    folder, pin = hub.fetch(source, weights=False)
    return Weights(folder, None, pin, pinned_name(source))


def _package_folder(source: PackageSource) -> tuple[Path, bool]:
    """The folder, and True if an installer put it there."""
    cure = f"install {source.distribution}=={source.version} where this worker runs"
    try:
        distribution = importlib.metadata.distribution(source.distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise load_failed(
            f"the distribution {source.distribution} is not installed; {cure}"
        ) from error
    version = distribution.version
    if version != source.version:
        raise load_failed(
            f"{source.distribution} is installed at {version}, pinned is another; {cure}"
        )
    spec = importlib.util.find_spec(source.package)
    locations = None if spec is None else spec.submodule_search_locations
    if not locations:
        raise load_failed(f"{source.distribution} gives no package named {source.package}; {cure}")
    folder = Path(next(iter(locations)))
    if source.path is not None:
        folder /= source.path
    _require_folder(folder, "correct the source's `path`")
    return folder, _is_installed(distribution, folder)


def _is_installed(distribution: importlib.metadata.Distribution, folder: Path) -> bool:
    """True if an installer put each file of a folder there.

    Only installers write RECORD. An editable installation leads to somebody's own folder, and
    somebody may have copied files into an installed one.
    """
    if distribution.read_text("RECORD") is None:
        return False
    site = Path(str(distribution.locate_file(""))).resolve()
    recorded = {site / str(name) for name in distribution.files or ()}
    files = [
        path
        for path in folder.resolve().rglob("*")
        if not path.is_dir() and path.parent.name != "__pycache__"
    ]
    return all(path in recorded and not path.is_symlink() for path in files)


def _require_folder(folder: Path, cure: str) -> None:
    if not folder.is_dir():
        raise load_failed(f"the folder {folder} does not exist; {cure}")


def _require_plain(folder: Path) -> None:
    """Refuse a folder that holds anything but files and folders.

    Of a pipe no reading ever begins, of a device none ends. Other libraries read by names of their
    own, so the whole folder is looked through, and what its links lead to.
    """
    seen = 0
    pending = [folder]
    looked_at: set[tuple[int, int]] = set()
    try:
        while pending:
            place = pending.pop()
            stat = place.stat()
            if (stat.st_dev, stat.st_ino) in looked_at:
                continue
            looked_at.add((stat.st_dev, stat.st_ino))
            with os.scandir(place) as entries:
                for entry in entries:
                    seen += 1
                    if seen > _ENTRIES_MAX:
                        raise load_failed(f"{folder} has more than {_ENTRIES_MAX} entries")
                    if entry.is_dir():
                        pending.append(Path(entry.path))
                    elif not entry.is_file() and os.path.exists(entry.path):
                        raise load_failed(
                            f"{entry.path} is no plain file; take it out of the folder"
                        )
    except OSError as error:
        raise load_failed(
            f"{error.filename or folder} cannot be looked at ({error.strerror}); mend it, or take "
            "it out of the folder"
        ) from error


def _verify(folder: Path, manifest: Mapping[str, str]) -> dict[Path, Stamp]:
    stamps: dict[Path, Stamp] = {}
    for name, expected in manifest.items():
        path = folder / name
        try:
            # Before it is read: what is written meanwhile is noticed afterwards.
            stamps[path] = stamp_of(path, folder)
            found = sha256_as_of(path)
        except OSError as error:
            raise load_failed(
                f"{name} of the manifest cannot be read in {folder} ({error.strerror}); "
                "restore the file, or correct the manifest"
            ) from error
        if found != expected:
            raise load_failed(
                f"{path} has SHA-256 {found[:12]}…, the manifest says {expected[:12]}…; "
                "restore the file, or write the new hash to the config"
            )
    return stamps
