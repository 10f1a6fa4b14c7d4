"""An OpenAPI document as a page that people read.

*pure.* One page of plain HTML with its style in it: no script, and nothing that is fetched.
Promises that every text of the document is escaped, and that the page's headers allow nothing but
its own style.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final, TypeAlias

__all__ = ["PAGE_HEADERS", "page_body", "whole_page"]

Json: TypeAlias = Mapping[str, Any]
_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}
body{color:#1b2330;background:#fff}
a{color:#0b57d0}code{font:.9em ui-monospace,monospace}
details{border:1px solid #d5dbe3;border-radius:6px;margin:.4rem 0;padding:.4rem .8rem}
summary{cursor:pointer}summary code{font-weight:600;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;margin:.4rem 0}
th,td{text-align:left;vertical-align:top;padding:.25rem .8rem .25rem 0}
th,td{border-top:1px solid #e6eaef;overflow-wrap:anywhere}
th{font-weight:600}h2{margin-top:2.2rem}h4{margin:.8rem 0 0}
.method{display:inline-block;min-width:4rem;font:600 .8em ui-monospace,monospace;color:#51606f}
@media(prefers-color-scheme:dark){body{color:#e4e8ee;background:#14181e}a{color:#8ab4f8}
details{border-color:#38414d}th,td{border-color:#2a323c}.method{color:#9aa7b6}}
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
PAGE_HEADERS: Final[Mapping[str, str]] = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_REQUIRED: Final = " (required)"
_METHODS: Final = ("get", "head", "post", "put", "patch", "delete")
_BOUNDS: Final = (
    ("minimum", "at least {}"),
    ("maximum", "at most {}"),
    ("minLength", "at least {} characters"),
    ("maxLength", "at most {} characters"),
    ("minItems", "at least {} items"),
    ("maxItems", "at most {} items"),
    ("pattern", "matches {}"),
    ("default", "else {}"),
)


def whole_page(document: Json) -> bytes:
    """The page, to be answered with `PAGE_HEADERS`."""
    title = escape(document["info"]["title"])
    body = page_body(document)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{title}</h1>{body}</body></html>"
    ).encode()


def page_body(document: Json) -> str:
    """The part of the page below its title."""
    return "\n".join(_parts(document))


def _parts(document: Json) -> Iterator[str]:
    described = document["info"].get("description")
    if described:
        yield f"<p>{_prose(described)}</p>"
    yield "<p>The document that this page is made of is at <code>/openapi.json</code>.</p>"
    yield '<h2 id="routes">Routes</h2>'
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if method in operations:
                yield _operation(method, path, operations[method])
    schemas = document.get("components", {}).get("schemas", {})
    if schemas:
        yield '<h2 id="bodies">Bodies</h2>'
    for name, schema in schemas.items():
        yield (
            f'<details id="{_anchor(name)}"><summary><code>{escape(name)}</code></summary>'
            f"{_schema(schema)}</details>"
        )


def _operation(method: str, path: str, told: Json) -> str:
    said, more = _headline(told)
    parts = [f"<p>{_prose(more)}</p>" if more else ""]
    parameters = [
        (each["name"], f"{escape(each['in'])}, {_type(each.get('schema', {}))}", each)
        for each in told.get("parameters", ())
    ]
    parts.append(_fields("Parameters", parameters))
    for kind, media in told.get("requestBody", {}).get("content", {}).items():
        fields = _type(media["schema"]) if media.get("schema") else "The same fields."
        parts.append(f"<h4>Body, {escape(kind)}</h4><p>{fields}</p>")
    rows = [
        f"<tr><td>{escape(status)}</td><td>{_prose(each.get('description', ''))}</td></tr>"
        for status, each in told.get("responses", {}).items()
    ]
    parts.append(f"<h4>Answers</h4><table>{''.join(rows)}</table>" if rows else "")
    return (
        f'<details id="{_anchor(f"{method} {path}")}"><summary>'
        f'<span class="method">{method.upper()}</span><code>{escape(path)}</code> '
        f"{_prose(said)}</summary>{''.join(parts)}</details>"
    )


def _headline(told: Json) -> tuple[str, str]:
    """The words beside a route, and those below it. A framework's own summary is the name
    of a function, and no sentence."""
    summary, description = told.get("summary", ""), told.get("description", "")
    if summary.endswith(".") or not description:
        return summary, description
    first, _, more = description.partition("\n\n")
    return first, more


def _fields(title: str, rows: Sequence[tuple[str, str, Json]]) -> str:
    """A table of names with their types and what is said of them."""
    if not rows:
        return ""
    told = "".join(
        f"<tr><td><code>{escape(name)}</code>{_REQUIRED if said.get('required') is True else ''}"
        f"</td><td>{kind}</td><td>{_prose(said.get('description', ''))}</td></tr>"
        for name, kind, said in rows
    )
    return f"<h4>{title}</h4><table>{told}</table>"


def _schema(schema: Json) -> str:
    said = f"<p>{_prose(schema['description'])}</p>" if schema.get("description") else ""
    wanted = set(schema.get("required", ()))
    rows = [
        (name, _type(each), {"required": name in wanted, "description": each.get("description")})
        for name, each in schema.get("properties", {}).items()
    ]
    return said + (_fields("Fields", rows) if rows else f"<p>{_type(schema)}</p>")


def _type(schema: Json | bool) -> str:
    """A type in words, with links to the bodies that have a name."""
    if isinstance(schema, bool):
        return "anything" if schema else "nothing"
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{_anchor(name)}">{escape(name)}</a>'
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(map(_type, schema[key]))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join(f"<code>{escape(repr(value))}</code>" for value in values)
    kind = schema.get("type", "anything")
    told = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if kind == "array" and "items" in schema:
        told = f"list of {_type(schema['items'])}"
    elif kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        told = f"object of {_type(schema['additionalProperties'])}"
    else:
        told = escape(told)
    bounds = [
        word.format(f"<code>{escape(str(schema[name]))}</code>")
        for name, word in _BOUNDS
        if name in schema and schema[name] not in (None, {}, [], "")
    ]
    return ", ".join([told, *bounds])


def _prose(text: str | None) -> str:
    """A text in which what stands between backquotes is code."""
    parts = escape(text or "").split("`")
    if len(parts) % 2 == 0:
        return "`".join(parts)
    return "".join(
        f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts)
    )


def _anchor(name: str) -> str:
    kept = "".join(letter if letter.isalnum() else "-" for letter in name.lower())
    return escape(kept.strip("-"), quote=True)
