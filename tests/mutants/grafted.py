"""A change of a module put into that module where it is loaded, for a process that has it all.

*shell.* Functions are given the code of the changed ones, and keep their identity: whoever imported
one runs the change. Simple values are set wherever they were imported. What this cannot reach, as a
table that was filled at import, counts as no difference: `planted` is for that.
"""

import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any, Final

__all__ = ["graft"]

_SIMPLE: Final = (int, float, str, bytes, bool, type(None))


def graft(name: str, path: str, code: str) -> int:
    """Put the changed source of a loaded module into it; how many functions and values differ."""
    module = sys.modules[name]
    made = ModuleType(name)
    made.__file__ = path
    exec(compile(code, path, "exec"), vars(made))
    count = 0
    for attribute, new in vars(made).items():
        if attribute.startswith("__"):
            continue
        old = vars(module).get(attribute)
        if _is_simple(old) and _is_simple(new) and old != new:
            _rebind(attribute, old, new)
            count += 1
        elif isinstance(old, type) and isinstance(new, type) and new.__module__ == name:
            count += _graft_class(old, new)
        else:
            count += _graft_function(old, new, name)
    return count


def _graft_class(old: type, new: type) -> int:
    count = 0
    for attribute, value in list(vars(new).items()):
        before = vars(old).get(attribute)
        if _is_simple(before) and _is_simple(value) and before != value:
            if attribute.startswith("__"):
                continue
            setattr(old, attribute, value)
            count += 1
        elif isinstance(before, type) and isinstance(value, type):
            count += _graft_class(before, value)
        else:
            pairs = zip(_functions(before), _functions(value), strict=False)
            count += sum(_graft_function(one, other, new.__module__) for one, other in pairs)
    return count


def _functions(value: Any) -> Iterator[Any]:
    """The functions under what a class holds: a method, a property, a class method."""
    if isinstance(value, property):
        yield from (each for each in (value.fget, value.fset) if each is not None)
    else:
        yield getattr(value, "__func__", value)


def _graft_function(old: Any, new: Any, module: str) -> int:
    """One function, or the one under a decorator; a cache forgets what it kept."""
    if hasattr(old, "cache_clear"):
        old.cache_clear()
    if hasattr(old, "__wrapped__"):
        old, new = old.__wrapped__, getattr(new, "__wrapped__", None)
    if not isinstance(old, FunctionType) or not isinstance(new, FunctionType):
        return 0
    if new.__module__ != module or old.__code__.co_freevars != new.__code__.co_freevars:
        return 0
    before = old.__defaults__ or ()
    defaults = tuple(
        other if _is_simple(other) else one
        for one, other in zip(before, new.__defaults__ or (), strict=True)
    )
    differs = old.__code__ != new.__code__ or defaults != before
    if differs:
        old.__code__ = new.__code__
        old.__defaults__ = defaults or None
    named = old.__kwdefaults__ or {}
    for name, value in (new.__kwdefaults__ or {}).items():
        if _is_simple(value) and named[name] != value:
            named[name] = value
            differs = True
    return int(differs)


def _is_simple(value: Any) -> bool:
    if isinstance(value, tuple | frozenset):
        return all(map(_is_simple, value))
    return isinstance(value, _SIMPLE)


def _rebind(name: str, old: Any, new: Any) -> None:
    """Set a value in its module, and wherever it was imported under its name."""
    for module in list(sys.modules.values()):
        if vars(module).get(name) is old:
            setattr(module, name, new)
