"""One mistake in a request that is right: a name, a type, a word, or a key that stands twice.

The routes, their parameters and the fields of their bodies come from the services' own OpenAPI
documents, so that a new one is tried without being listed. Randomness is an argument.
"""

import copy
import json
import random
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal
from urllib.parse import quote

from tests.support.openapi_file import OPENAPI_FILES

__all__ = ["Mistake", "Route", "misspelt", "mistaken_body", "mistaken_query", "routes"]

_TWIN = "\0twin"
"""Stands for a key that is there already, until the body is text."""
_METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Route:
    """A method, a path with its places, the query's names, and the schema of a body in JSON."""

    method: str
    path: str
    query: tuple[str, ...]
    body: Mapping[str, Any] | None
    media: str

    @property
    def name(self) -> str:
        """The method and the path."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Mistake:
    """A body with one thing amiss, and which."""

    told: str
    body: bytes


@cache
def _document(service: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(OPENAPI_FILES[service].read_text())
    return document


def routes(service: Literal["sie-config", "sie-gateway"]) -> list[Route]:
    """Every route of a service that its document tells."""
    return [
        _route(path, method, operations[method])
        for path, operations in _document(service)["paths"].items()
        for method in _METHODS
        if method in operations
    ]


def _route(path: str, method: str, operation: Mapping[str, Any]) -> Route:
    names = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]
    content = operation.get("requestBody", {}).get("content", {})
    media = next((each for each in content if each.endswith("json")), "")
    schema = content[media]["schema"] if media else None
    return Route(method.upper(), path, tuple(names), schema, media)


def misspelt(draw: random.Random, name: str, known: Collection[str] = ()) -> str:
    """A name that is none of `known`, by one letter or by the habits of another language."""
    place = draw.randrange(len(name))
    letter = draw.choice("aeioxLR_-.")
    made = draw.choice(
        [
            name[:place] + name[place + 1 :],
            name[:place] + letter + name[place:],
            name[:place] + letter + name[place + 1 :],
            name.upper(),
            name.title(),
            name.replace("_", "-"),
            f"{name}s",
            f"{name}_name",
            name[::-1],
        ]
    )
    return f"{made}x" if not made or made == name or made in known else made


_VALUES: Mapping[str, Any] = {
    "string": "x",
    "integer": 7,
    "number": 0.5,
    "boolean": True,
    "array": [],
    "object": {},
}


def _wrong(
    draw: random.Random, schema: Mapping[str, Any], components: Mapping[str, Any]
) -> list[Any]:
    """A value of a type that a field does not take, if there is one."""
    taken: set[str] = set()
    for each in _alternatives(schema, components):
        if "type" not in each and "enum" not in each and "const" not in each:
            return []
        taken.add(each.get("type", "string"))
    if "number" in taken:
        taken.add("integer")
    others = sorted(_VALUES.keys() - taken)
    return [_VALUES[draw.choice(others)]] if others else []


def mistaken_query(draw: random.Random, route: Route) -> str:
    """A query that the route has to refuse: a name that it does not know, or one given twice."""
    known = route.query or ("dry_run", "limit", "lora", "dimensions")
    name = draw.choice(known)
    if route.query and draw.random() < 0.3:
        return f"{name}=1&{name}=2"
    return f"{quote(misspelt(draw, name, route.query))}=1"


def mistaken_body(
    draw: random.Random,
    service: Literal["sie-config", "sie-gateway"],
    schema: Mapping[str, Any],
    right: Mapping[str, Any],
) -> Mistake:
    """A copy of a right body with one mistake at one of its objects."""
    body = copy.deepcopy(dict(right))
    components = _document(service)["components"]["schemas"]
    found = [each for each in _objects(schema, body, "$", components) if each[1]]
    table, properties, where = draw.choice(found)
    match draw.choice(["added", "renamed", "type", "word", "twice"]):
        case "renamed" if table:
            name = draw.choice(sorted(table))
            made = misspelt(draw, name, properties)
            table[made] = table.pop(name)
            told = f"{name} renamed {made}"
        case "type" if strange := _strange(draw, properties, components):
            name, table[strange[0]] = strange
            told = f"{name} of another type"
        case "word" if worded := _worded(properties, components):
            name, words = draw.choice(worded)
            table[name] = misspelt(draw, draw.choice(words), words)
            told = f"{name} a word that is none of its own"
        case "twice" if table:
            name = draw.choice(sorted(table))
            table[_TWIN] = table[name]
            return Mistake(f"{where}.{name} twice", _with_twin(body, name))
        case _:
            name = draw.choice(sorted(properties))
            made = misspelt(draw, name, properties)
            table[made] = table.get(name, draw.choice([7, True, "x", [], {}]))
            told = f"{made} added"
    return Mistake(f"{where}: {told}", json.dumps(body).encode())


def _strange(
    draw: random.Random, properties: Mapping[str, Any], components: Mapping[str, Any]
) -> tuple[str, Any] | None:
    """A field, and a value of a type that it does not take."""
    name = draw.choice(sorted(properties))
    found = _wrong(draw, properties[name], components)
    return (name, found[0]) if found else None


def _with_twin(body: Any, name: str) -> bytes:
    return json.dumps(body).replace(json.dumps(_TWIN), json.dumps(name)).encode()


def _worded(
    properties: Mapping[str, Any], components: Mapping[str, Any]
) -> list[tuple[str, list[str]]]:
    """The fields that take one of some words."""
    found = []
    for name, schema in properties.items():
        for each in _alternatives(schema, components):
            words = [word for word in each.get("enum", ()) if isinstance(word, str)]
            if words:
                found.append((name, words))
    return found


def _objects(
    schema: Mapping[str, Any], value: Any, where: str, components: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], Mapping[str, Any], str]]:
    """The objects of a body whose keys are the service's: with their fields, and their places."""
    for each in _alternatives(schema, components):
        if isinstance(value, dict) and each.get("type") == "object":
            properties = each.get("properties", {})
            rest = each.get("additionalProperties")
            if rest is False:
                yield value, properties, where
            for name, inner in list(value.items()):
                below = properties.get(name, rest if isinstance(rest, dict) else None)
                if below is not None:
                    yield from _objects(below, inner, f"{where}.{name}", components)
        if isinstance(value, list) and isinstance(each.get("items"), dict):
            for index, inner in enumerate(value):
                yield from _objects(each["items"], inner, f"{where}[{index}]", components)


def _alternatives(
    schema: Mapping[str, Any], components: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    if "$ref" in schema:
        schema = components[schema["$ref"].rsplit("/", 1)[-1]]
    choices = schema.get("anyOf", schema.get("oneOf"))
    if choices is None:
        yield schema
    else:
        for each in choices:
            yield from _alternatives(each, components)
