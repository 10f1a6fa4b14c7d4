"""The reference pages of the site: the SDK from its docstrings, and both services from their
OpenAPI documents. mkdocs makes them as it builds (`hooks` in mkdocs.yml); no file holds them.
"""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import sie_sdk
from sie_runtime.access.openapi_page import page_body
from sie_schemas import items
from sie_schemas.api import cluster, log, models, past, pools, writes
from sie_sdk import cluster_types, encoding, errors, scoring, types
from sie_sdk.config.client import SIEConfigClient

__all__ = ["on_files", "pages"]

_OPENAPI = Path(__file__).parents[2] / "docs/openapi"
_WORDS = "The words are in the [glossary](../glossary.md)."
_CLIENTS = (sie_sdk.SIEClient, SIEConfigClient)
_TYPES = tuple(each.__name__ for each in (types, cluster_types, items, cluster, models, pools))
"""The modules in which the types of the SDK are written down."""
_SERVICES = {
    "sie-gateway": "The gateway: inference, the other APIs, and views of the configuration.",
    "sie-config": "The writer of the configuration.",
}


def pages() -> dict[str, str]:
    """Each page by its place in the site."""
    made = {"reference/sdk.md": "\n".join(_sdk())}
    for name, said in _SERVICES.items():
        document = json.loads((_OPENAPI / f"{name}.json").read_text())
        body = page_body(document).replace("\n", " ")
        told = f"{said} A running one serves this page at `/docs`. {_WORDS}"
        made[f"reference/{name}.md"] = f"# {name}\n\n{told}\n\n<div>{body}</div>\n"
    return made


def _sdk() -> Iterator[str]:
    yield "# The SDK\n"
    yield "`pip install .` in a checkout brings it, for Python 3.11 or newer."
    yield f"`SIEAsyncClient` and `SIEAsyncConfigClient` are the same with `await`. {_WORDS}\n"
    for client in _CLIENTS:
        yield from _client(client)
    yield "## Types\n"
    yield from _shapes(types, *_TYPES)
    yield "## Types of sie-config\n"
    yield "`SIEConfigClient` gives these; they are in `sie_schemas.api`.\n"
    for module in (log, past, writes):
        yield from _shapes(module, module.__name__)
    yield "## Errors\n"
    for name, found in _classes(errors, errors.__name__, "sie_schemas.errors"):
        bases = ", ".join(f"`{base.__name__}`" for base in found.__bases__)
        yield f"- `{name}` (a {bases}): {_line(found)}"
    for module in (encoding, scoring):
        yield f"\n## {module.__name__}\n"
        for name in module.__all__:
            found = getattr(module, name)
            if inspect.isfunction(found):
                yield f"- `{name}{_signature(found)}`: {_line(found)}"
    yield ""


def _shapes(module: Any, *homes: str) -> Iterator[str]:
    for name, found in _classes(module, *homes):
        yield f"### {name}\n"
        yield _said(found)
        yield from _fields(found)


def _client(client: type) -> Iterator[str]:
    yield f"## {client.__name__}\n"
    made = vars(client)["__init__"]
    yield f"```python\n{client.__name__}{_signature(made)}\n```\n"
    yield _said(made)
    for name, method in _methods(client):
        yield f"### {client.__name__}.{name}\n"
        yield f"```python\n{name}{_signature(method)}\n```\n"
        yield _said(method)


def _classes(module: Any, *homes: str) -> Iterator[tuple[str, Any]]:
    """The classes that a module offers by their own names, of these modules."""
    for name in module.__all__:
        found = getattr(module, name)
        if inspect.isclass(found) and found.__module__ in homes and found.__name__ == name:
            yield name, found


def _methods(client: type) -> list[tuple[str, Any]]:
    return [
        (name, member)
        for name, member in vars(client).items()
        if inspect.isfunction(member) and not name.startswith("_")
    ]


def _fields(found: type) -> Iterator[str]:
    """A table of a typed mapping's keys, those that it inherits left out."""
    inherited = {
        name for base in found.__mro__[1:] for name in getattr(base, "__annotations__", ())
    }
    own = {name: kind for name, kind in found.__annotations__.items() if name not in inherited}
    if own:
        yield "| Key | Type |\n|---|---|"
        yield from (f"| `{name}` | `{_kind(kind)}` |" for name, kind in own.items())
        yield ""


def _kind(kind: Any) -> str:
    told = kind if isinstance(kind, str) else inspect.formatannotation(kind)
    told = re.sub(r"Required\[(.*)\]$", r"\1", told.removeprefix("typing."))
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Za-z])", "", told).replace("|", "\\|")


def _signature(function: Any) -> str:
    """The parameters as they are written, each on a line of its own where they are many."""
    source = textwrap.dedent(inspect.getsource(function))
    [found] = ast.parse(source).body
    assert isinstance(found, ast.FunctionDef)
    parameters = [each for each in _apart(ast.unparse(found.args)) if each != "self"]
    answer = "" if found.returns is None else f" -> {ast.unparse(found.returns)}"
    told = f"({', '.join(parameters)}){answer}".replace(" -> None", "")
    if len(told) <= 88:
        return told
    lines = "".join(f"    {each},\n" for each in parameters)
    return f"(\n{lines}){answer}".replace(" -> None", "")


def _apart(told: str) -> list[str]:
    """A list at its commas, but for those in brackets."""
    parts, depth = [""], 0
    for letter in told:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _said(found: Any) -> str:
    return f"{inspect.getdoc(found) or ''}\n"


def _line(found: Any) -> str:
    return " ".join((inspect.getdoc(found) or "").partition("\n\n")[0].split())


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """mkdocs' hook: the pages beside those of the folder."""
    for place, page in pages().items():
        files.append(File.generated(config, place, content=page))
    return files
