"""Routes: the steps of a query and of a document, where a folder tells them apart.

*pure.* Reads `modules.json` and, for a step `Router` (`Asym` in old folders), its own list. The
route of a task is the one that the reference takes for a text.
"""

import ast
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sie_layouts.architectures.tasks import holds_tasks
from sie_layouts.modules import module_name, read_module
from sie_layouts.reader import Reader, joined
from sie_layouts.steps import Step

__all__ = ["MODULES_FILE", "ROUTERS", "listed_modules", "steps_of"]

MODULES_FILE: Final = "modules.json"
ROUTERS: Final = frozenset({"Router", "Asym"})
_TASK_STEP: Final = "custom_st.Transformer"


def listed_modules(reader: Reader) -> list[dict[str, Any]]:
    """The entries of `modules.json`; a name that two of them have is refused."""
    listed = reader.json(MODULES_FILE)
    if not isinstance(listed, list):
        reader.refuse(MODULES_FILE, "is no list of modules", "restore the file")
        return []
    entries = [entry if isinstance(entry, dict) else {} for entry in listed]
    seen: set[str] = set()
    for place, entry in enumerate(entries):
        name = entry.get("name")
        if isinstance(name, str) and name in seen:
            # It keeps them by name: of two the second runs, in the first one's place.
            reader.refuse(
                f"{MODULES_FILE}: {place}.name",
                f"is {name!r}, as of a module before it: the reference runs one of the two",
                "give each module a name of its own",
            )
        seen.add(str(name))
    return entries


def steps_of(reader: Reader, task: str, *, first: int = 0) -> tuple[Step, ...]:
    """The steps of `query` or `document`, as `modules.json` orders them, from place `first` on.

    Without a task they are those of a text of which nobody said what it is.
    """
    steps: list[Step] = []
    for place, table in enumerate(listed_modules(reader)):
        source = f"{MODULES_FILE}: {place}.type"
        folder = table.get("path", "")
        if place < first:
            continue
        # The list is a stranger's: a path out of the folder would have a worker read its own disk.
        if not isinstance(folder, str) or _leaves(folder):
            reader.refuse(f"{MODULES_FILE}: {place}.path", f"is {folder!r}, outside the folder")
            continue
        steps += _module(reader, source, table.get("type"), joined(folder, ""), task)
    return tuple(steps)


def _module(reader: Reader, source: str, path: object, folder: str, task: str) -> Sequence[Step]:
    if not isinstance(path, str):
        reader.refuse(source, f"is {path!r}, and a class is wanted", "restore the file")
        return ()
    name = _own_name(reader, path, folder) or module_name(reader, source, path)
    if name is None:
        return ()
    if name in ROUTERS:
        return _routed(reader, folder, task)
    step = read_module(reader, source, name, folder)
    return () if step is None else (step,)


def _own_name(reader: Reader, path: str, folder: str) -> str | None:
    """The reference's name of a step that a repository has as code of its own, and that is known.

    jina-embeddings-v3 has one that reads texts as the reference's does, and takes a task besides.
    """
    known = path == _TASK_STEP and holds_tasks(reader.table(joined(folder, "config.json")))
    return "Transformer" if known else None


def _routed(reader: Reader, folder: str, task: str) -> Sequence[Step]:
    name = joined(folder, "router_config.json")
    if not reader.has(name):
        name = joined(folder, "config.json")
    table = reader.table(name)
    types = reader.take(name, table, "types", dict, {})
    structure = reader.take(name, table, "structure", dict, {})
    parameters = reader.take(name, table, "parameters", dict, {})
    route = _route(reader, name, parameters, task, list(map(str, structure)))
    members = structure.get(route)
    if not isinstance(members, list):
        reader.refuse(
            f"{name}: structure",
            f"has no route for a {task or 'text'}: it has {', '.join(map(str, sorted(structure)))}",
            "name its routes query and document",
        )
        return ()
    steps: list[Step] = []
    for member in map(str, members):
        if _leaves(member):
            reader.refuse(f"{name}: structure", f"names {member!r}, outside the folder")
            continue
        source = f"{name}: types.{member}"
        steps += _module(reader, source, types.get(member), joined(folder, member), task)
    return steps


def _route(
    reader: Reader, name: str, parameters: Mapping[str, Any], task: str, routes: Sequence[str]
) -> str:
    known = {"allow_empty_key", "default_route", "route_mappings"}
    reader.refuse_others(f"{name}: parameters", parameters, known, "Router")
    mappings = parameters.get("route_mappings") or {}
    if not isinstance(mappings, dict):
        reader.refuse(f"{name}: parameters.route_mappings", "is no object", "restore the file")
        mappings = {}
    found = {_pair(key): str(route) for key, route in mappings.items()}
    named = task or None
    for wanted in ((named, "text"), (named, None), (None, "text"), (None, None)):
        if wanted in found:
            return found[wanted]
    for direct in (task, "text"):
        if direct in routes:
            return direct
    if task:
        return task
    chosen = reader.take(f"{name}: parameters", parameters, "default_route", str, "")
    first = routes[0] if routes and parameters.get("allow_empty_key", True) else ""
    # Where the reference has no way for such a text, it is a document here.
    return chosen or first or _route(reader, name, parameters, "document", routes)


def _pair(key: str) -> object:
    """A (task, modality) that was written as a text; None where it does not read."""
    try:
        return ast.literal_eval(key)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None  # the reference skips it too


def _leaves(folder: str) -> bool:
    return folder.startswith(("/", "\\")) or ".." in folder.replace("\\", "/").split("/")
