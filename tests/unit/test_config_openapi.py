"""The committed OpenAPI document is the application's own."""

import json

from tests.support.openapi_file import OPENAPI_FILE, current_document


async def test_the_committed_document_is_the_applications_own(tmp_path):
    committed = json.loads(OPENAPI_FILE.read_text())
    current = json.loads(json.dumps(await current_document(tmp_path)))
    again = "write it anew: python -m tests.support.openapi_file"
    assert committed["paths"].keys() == current["paths"].keys(), again
    assert committed == current, again


def test_every_answer_that_is_no_success_has_the_one_shape_of_errors():
    committed = json.loads(OPENAPI_FILE.read_text())
    for path, methods in committed["paths"].items():
        for method, operation in methods.items():
            for status in ("4XX", "5XX"):
                schema = operation["responses"][status]["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Error"}, (method, path)
