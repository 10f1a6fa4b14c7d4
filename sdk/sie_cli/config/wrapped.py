"""Documents as tools for Kubernetes write them: with `apiVersion`, `metadata` and `spec`.

*pure.* `kustomize build` takes nothing else. Promises that a wrapped document is the plain one, and
that its name is said once. A field which would have no effect is refused by its name. Labels and
annotations are for those tools alone.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sie_core.nearest import advice
from sie_schemas.errors import FixRequest

__all__ = ["API_VERSION", "unwrapped"]

API_VERSION: Final = "sie/v1"
_KINDS: Final = {"Model": "model", "Adapter": "adapter", "Bundle": "bundle", "Pool": "pool"}
_FIELDS: Final = frozenset({"apiVersion", "kind", "metadata", "spec"})
_METADATA: Final = frozenset({"annotations", "labels", "name"})
_NAME: Final = {"model": "model_id"}
_LIST: Final = ("v1", "List")


def unwrapped(value: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The plain documents of a value that says its kind. Raises `FixRequest`."""
    if "apiVersion" not in value:
        yield value
        return
    said = (value["apiVersion"], value["kind"])
    if said == _LIST:
        for item in value.get("items") or ():
            if not isinstance(item, Mapping) or not isinstance(item.get("kind"), str):
                raise FixRequest("an item of a List is a mapping that says its kind", field="items")
            yield from unwrapped(item)
        return
    if said[0] != API_VERSION:
        raise FixRequest(
            f"apiVersion {said[0]!r} is not ours: a document for sie says {API_VERSION}, and a "
            f"{said[1]} of Kubernetes goes to `kubectl apply`",
            field="apiVersion",
        )
    yield _plain(value)


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    kind = _KINDS.get(value["kind"])
    if kind is None:
        known = advice(value["kind"], _KINDS)
        raise FixRequest(f"{value['kind']!r} is no kind of {API_VERSION}: {known}", field="kind")
    _check(value, _FIELDS, "")
    metadata, spec = value.get("metadata"), value.get("spec", {})
    if not isinstance(metadata, Mapping) or not isinstance(metadata.get("name"), str):
        raise FixRequest("metadata.name is missing: it names the document", field="metadata")
    if not isinstance(spec, Mapping):
        raise FixRequest("spec is a mapping: the fields of the document", field="spec")
    _check(metadata, _METADATA, "metadata.")
    if "kind" in spec:
        raise FixRequest("the kind stands outside of spec: leave spec.kind out", field="spec")
    named = _NAME.get(kind, "name")
    if spec.get(named, metadata["name"]) != metadata["name"]:
        raise FixRequest(
            f"spec.{named} is {spec[named]!r} and metadata.name {metadata['name']!r}: say it once",
            field="spec",
        )
    return {"kind": kind, **spec, named: metadata["name"]}


def _check(value: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    for name in value:
        if name not in known:
            raise FixRequest(
                f"{where}{name} would have no effect here: {advice(name, known)}",
                field=where.rstrip(".") or name,
            )
