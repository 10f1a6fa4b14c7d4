"""The public surface of an SDK: names, parameters and defaults, what errors and results hold.

`python tests/support/sdk_surface.py` prints the one of the `sie_sdk` that its interpreter has. The
published client's is kept in `tests/data/sdk_surface`: it was printed in an environment of its own,
so this module needs the standard library alone.
"""

import ast
import importlib
import inspect
import json
import typing
from collections.abc import Iterator
from typing import Any

__all__ = ["MODULES", "surface"]

MODULES = (
    "sie_sdk",
    "sie_sdk.types",
    "sie_sdk.encoding",
    "sie_sdk.scoring",
    "sie_sdk.exceptions",
    "sie_sdk.client",
    "sie_sdk.client.errors",
    "sie_sdk.client.sync",
    "sie_sdk.client.async_",
)
_UNSAID = "unsaid"
"""The default of a keyword that a function looks for itself."""
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def surface() -> dict[str, dict[str, Any]]:
    """Each module's public names, and what each is."""
    found: dict[str, dict[str, Any]] = {}
    for name in MODULES:
        module = importlib.import_module(name)
        found[name] = {each: _told(getattr(module, each)) for each in _names(module)}
    return found


def _names(module: Any) -> list[str]:
    told = getattr(module, "__all__", None)
    if told is None:
        told = [name for name in _defined(module) if not name.startswith("_")]
    return sorted(told)


def _defined(module: Any) -> Iterator[str]:
    """The names that a module itself defines, constants and names of types too."""
    for line in ast.parse(inspect.getsource(module)).body:
        match line:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                yield name
            case ast.AsyncFunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign(targets=targets):
                yield from (each.id for each in targets if isinstance(each, ast.Name))


def _told(value: Any) -> dict[str, Any]:
    if typing.is_typeddict(value):
        return {
            "kind": "mapping",
            "keys": sorted(value.__required_keys__ | value.__optional_keys__),
        }
    if inspect.isclass(value) and issubclass(value, Exception):
        return {"kind": "error", "bases": _bases(value), "attributes": _attributes(value)}
    if inspect.isclass(value):
        return {"kind": "class", **_members(value)}
    if inspect.isfunction(value):
        return {"kind": "function", "parameters": _parameters(value)}
    return {"kind": "value"}


def _bases(kind: type[Exception]) -> list[str]:
    return [each.__name__ for each in kind.__mro__ if each.__module__.startswith("sie_")]


def _attributes(kind: type[Exception]) -> list[str]:
    wanted = [
        each
        for each in _signature(kind).parameters.values()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    by_name = {each.name: 1 for each in wanted if each.kind is each.KEYWORD_ONLY}
    made = kind(*("told" for each in wanted if each.kind in _POSITIONAL), **by_name)
    of_class = [name for name in dir(kind) if not hasattr(Exception, name)]
    return sorted({name for name in (*vars(made), *of_class) if not name.startswith("_")})


def _signature(kind: type[Exception]) -> inspect.Signature:
    try:
        return inspect.signature(kind)
    except ValueError:
        # It says nothing of its own, and Python's exceptions are not described.
        return inspect.Signature()


def _members(kind: type) -> dict[str, Any]:
    members = {
        name: value
        for name, value in inspect.getmembers(kind)
        if not name.startswith("_") or name in ("__init__", "__enter__", "__aenter__")
    }
    return {
        "methods": {
            name: _parameters(value) for name, value in members.items() if inspect.isfunction(value)
        },
        "properties": sorted(
            {name for name, value in members.items() if isinstance(value, property)}
            # Of a struct of msgspec, which our items are.
            | set(getattr(kind, "__struct_fields__", ()))
        ),
    }


def _parameters(function: Any) -> list[dict[str, Any]]:
    """Name, whether it may be given by place, its default, and whether None may be given."""
    hints = _hints(function)
    found: list[dict[str, Any]] = []
    for name, each in inspect.signature(function).parameters.items():
        if name == "self":
            continue
        if each.kind is each.VAR_KEYWORD:
            (options,) = typing.get_args(hints[name]) or (None,)
            told = typing.get_type_hints(options) if typing.is_typeddict(options) else {}
            found += [
                _parameter(key, by_place=False, default=_UNSAID, hint=hint)
                for key, hint in told.items()
            ]
            continue
        default = "" if each.default is each.empty else repr(each.default)
        found.append(
            _parameter(
                name, by_place=each.kind in _POSITIONAL, default=default, hint=hints.get(name)
            )
        )
    return found


def _hints(function: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except NameError:
        # Some are imported for type checkers alone.
        return dict(function.__annotations__)


def _parameter(name: str, *, by_place: bool, default: str, hint: Any) -> dict[str, Any]:
    takes_none = default == "None" or hint is Any or type(None) in typing.get_args(hint)
    return {"name": name, "by_place": by_place, "default": default, "takes_none": takes_none}


def _text(found: dict[str, dict[str, Any]]) -> str:
    """A line for each name, so that a difference is read at once."""
    modules = []
    for module, names in found.items():
        lines = (f" {json.dumps(name)}: {json.dumps(told)}" for name, told in names.items())
        modules.append(f"{json.dumps(module)}: {{\n" + ",\n".join(lines) + "\n}")
    return "{\n" + ",\n".join(modules) + "\n}"


if __name__ == "__main__":
    print(_text(surface()))  # noqa: T201
