"""Laws of documents as Kubernetes wraps them: they are the plain ones, and all of them."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sie_cli.config.wrapped import API_VERSION, unwrapped

FIELDS = st.dictionaries(st.sampled_from(["pool", "description", "rank"]), st.integers(0, 3))
PLAIN = st.tuples(st.sampled_from(["model", "adapter", "bundle", "pool"]), st.text("ab/"), FIELDS)


def plain(kind: str, name: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, **fields, "model_id" if kind == "model" else "name": name}


def wrapped(kind: str, name: str, fields: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"app": "x"}}
    told = {"apiVersion": API_VERSION, "kind": kind.title(), "metadata": metadata}
    return told | ({"spec": fields} if fields else {})


def listed(items: list[Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": items}


NESTED = st.recursive(
    PLAIN.map(lambda told: ([plain(*told)], wrapped(*told)))
    | PLAIN.map(lambda told: ([plain(*told)], plain(*told))),
    lambda inner: st.lists(inner, max_size=4).map(
        lambda parts: (
            [one for own, _ in parts for one in own],
            listed([each for _, each in parts]),
        )
    ),
    max_leaves=10,
)


@given(NESTED)
def test_every_document_of_a_list_is_read_in_its_order_as_the_plain_one(told):
    expected, value = told
    assert [dict(each) for each in unwrapped(value)] == expected
