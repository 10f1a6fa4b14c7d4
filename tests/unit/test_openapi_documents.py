"""The committed OpenAPI documents are the applications' own."""

import json
from typing import Any

import pytest
from tests.support.openapi_file import OPENAPI_FILES, current_documents

from sie_gateway.faces import face_at


def committed(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(OPENAPI_FILES[name].read_text())
    return document


async def test_the_committed_documents_are_the_applications_own(tmp_path):
    again = "write them anew: python -m tests.support.openapi_file"
    for name, current in (await current_documents(tmp_path)).items():
        assert committed(name)["paths"].keys() == current["paths"].keys(), again
        assert committed(name) == current, again


@pytest.mark.parametrize("name", OPENAPI_FILES)
def test_every_answer_that_is_no_success_has_a_shape_and_on_our_routes_the_one_shape(name):
    for path, methods in committed(name)["paths"].items():
        for method, operation in methods.items():
            for status in ("4XX", "5XX"):
                schema = operation["responses"][status]["content"]["application/json"]["schema"]
                ours = schema == {"$ref": "#/components/schemas/Error"}
                is_face = method == "post" and face_at("POST", path) is not None
                assert ours != is_face, (method, path)
