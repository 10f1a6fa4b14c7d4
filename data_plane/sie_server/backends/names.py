"""Backends by name: the built-in ones, and those that installed packages register.

*shell* over the installed packages. A config names a backend and can never name code. Another
package adds one in the entry-point group `sie.backends`; it cannot replace a built-in name. A
built-in whose library is not installed is not offered, and says which extra gives it.
"""

import importlib
import importlib.util
import logging
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from sie_core.backend_options import GENERAL, of_backend, reads_beside, unread_of_profile
from sie_core.options import profile_problems
from sie_layouts.architectures.counts import too_many_parts
from sie_layouts.folder import FolderFiles
from sie_layouts.reader import Reader
from sie_schemas.errors import SIEError
from sie_schemas.ipc import Option
from sie_server.backends.backend import (
    Backend,
    DeviceSpec,
    Loader,
    ModelSpec,
    declared_options,
    load_failed,
)

__all__ = [
    "ENTRY_POINT_GROUP",
    "backend_names",
    "find_backend",
    "import_backends",
    "load_backend",
    "options_of",
    "reads_graphs",
    "require_backend",
]

_LOG: Final = logging.getLogger(__name__)

ENTRY_POINT_GROUP: Final = "sie.backends"


@dataclass(frozen=True, slots=True)
class _BuiltIn:
    """A module with a `load`, the library that it stands on, and the extra that installs it."""

    module: str
    library: str
    extra: str
    beside: str = ""
    """The way to the library where no extra can install it."""

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self.library) is not None


_ALWAYS: Final = "server"
"""The extra that every execution process has."""
_BUNDLE: Final = "run it on workers of the bundle gliner: `sie up --bundle gliner`"
_BUILT_IN: Final = {
    "cross-encoder": _BuiltIn("sie_server.backends.score.cross_encoder", "transformers", "server"),
    "echo": _BuiltIn("sie_server.backends.echo", "numpy", "server"),
    "gliclass": _BuiltIn(
        "sie_server.backends.extraction.gliclass_classes",
        "gliclass",
        "server",
        beside=_BUNDLE,
    ),
    "gliner": _BuiltIn(
        "sie_server.backends.extraction.gliner.entities",
        "gliner",
        "server",
        beside=_BUNDLE,
    ),
    "image-text": _BuiltIn("sie_server.backends.images.image_text", "transformers", "server"),
    "ocr": _BuiltIn("sie_server.backends.images.ocr", "rapidocr", "ocr"),
    "onnx-cross-encoder": _BuiltIn(
        "sie_server.backends.score.onnx_cross_encoder", "onnxruntime", "onnx"
    ),
    "spacy": _BuiltIn("sie_server.backends.extraction.spacy_pipeline", "spacy", "spacy"),
    "text-classification": _BuiltIn(
        "sie_server.backends.extraction.text_classification", "transformers", "server"
    ),
    "token-classification": _BuiltIn(
        "sie_server.backends.extraction.token_classification", "transformers", "server"
    ),
    "transformer": _BuiltIn("sie_server.backends.encode.transformer", "transformers", "server"),
    "zero-shot-classification": _BuiltIn(
        "sie_server.backends.extraction.zero_shot", "transformers", "server"
    ),
}


def backend_names() -> tuple[str, ...]:
    """Every backend that this process can run, sorted."""
    registered = {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}
    built_in = {name for name, known in _BUILT_IN.items() if known.installed}
    # A package cannot replace a built-in backend: the same config would mean other code.
    return tuple(sorted((registered - _BUILT_IN.keys()) | built_in))


def find_backend(name: str) -> Loader:
    """The loader of a backend. Raises MODEL_LOAD_FAILED for a name that nobody registered."""
    built_in = _BUILT_IN.get(name)
    if built_in is not None:
        return _built_in_loader(name, built_in)
    for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        try:
            registered: Loader = point.load()
        except (ImportError, AttributeError) as error:
            raise load_failed(
                f"the backend {name} is registered as {point.value} and cannot be imported: "
                f"{error}; install what it needs"
            ) from error
        return registered
    raise load_failed(
        f"there is no backend named {name}; known are {', '.join(backend_names())}. "
        "Install the package that registers it, or route the model to another bundle"
    )


def options_of(name: str) -> tuple[Option, ...]:
    """The options of a backend and the general ones. Raises as `find_backend` does."""
    return of_backend(name) or (*declared_options(find_backend(name)), *GENERAL)


def load_backend(spec: ModelSpec, device: DeviceSpec) -> Backend:
    """Load a model with its profile's backend. Raises MODEL_LOAD_FAILED, for an option that the
    backend does not declare too, and for a field that it does not read."""
    name = spec.profile.backend
    load = find_backend(name)
    for option, problem in profile_problems(spec.profile.options, options_of(name), backend=name):
        raise load_failed(f"the profile's option {option}: {problem}")
    for field, problem in unread_of_profile(name, spec.profile.model_dump()):
        raise load_failed(f"the profile's {field}: {problem}")
    if spec.weights.beside and not reads_beside(name):
        named = ", ".join(sorted(spec.weights.beside))
        raise load_failed(f"the source's beside: the backend {name} reads nothing of {named}")
    # A config of a million layers was made, layer by layer, before anybody looked at a weight.
    for weights in (spec.weights, *spec.weights.beside.values()):
        _require_few_parts(weights.folder)
    return load(spec, device)


def _require_few_parts(folder: Path) -> None:
    """Refuse a folder whose configs ask for parts without number: every library makes them first,
    and looks at the weights then. Raises MODEL_LOAD_FAILED."""
    reader = Reader(FolderFiles(folder))
    for name in reader.names:
        excess = (
            next(too_many_parts(reader.table(name)), None) if name.endswith("config.json") else None
        )
        if excess is not None:
            raise load_failed(f"{name} in {folder}: {excess}; restore the file")


def require_backend(name: str) -> None:
    """Refuse a name that nobody registered; imports nothing. Raises as `find_backend` does."""
    if name not in backend_names():
        find_backend(name)


def reads_graphs(name: str) -> bool:
    """True if a backend may want the ONNX graphs of a repository, beside or in place of weights."""
    built_in = _BUILT_IN.get(name)
    return built_in is None or built_in.library in ("onnxruntime", "rapidocr")


def import_backends() -> None:
    """Import backends now, which the first load would pay: their libraries take seconds.

    Those of an extra wait for their first model. They took 57 MiB of each process that never had
    one, and a second of its start.
    """
    # Transformers makes a model without values first, and of the shapes of these torch asks sympy.
    importlib.import_module("torch.fx.experimental.symbolic_shapes")
    for name in backend_names():
        built_in = _BUILT_IN.get(name)
        if built_in is not None and built_in.extra != _ALWAYS:
            continue
        try:
            find_backend(name)
        except SIEError as error:
            # Told again, with its code, to whoever asks for a model of it.
            _LOG.warning("%s", error.message)


def _built_in_loader(name: str, built_in: _BuiltIn) -> Loader:
    try:
        loader: Loader = importlib.import_module(built_in.module).load
    except ImportError as error:
        raise load_failed(
            f"the backend {name} needs a library that is not installed: {error}; "
            + (built_in.beside or f"install sie-cluster[{built_in.extra}]")
        ) from error
    return loader
