"""Bodies of YAML at sie-config: the same documents, the same refusals, and narrow bounds."""

import json

import pytest
import yaml
from tests.support.config_writer import client_of, model, running

from sie_cli.config.documents import read_documents
from sie_schemas.errors import FixRequest

CONFIGS = "/v1/configs"
YAML = {"content-type": "application/yaml"}
NOT_GUESSED = {
    "010": "010 is one thing to YAML 1.1",
    "1:30": "1:30",
    "1_0": "1_0",
    "yes": "yes",
    "off": "off",
    ".inf": "finite",
    "1e999": "finite",
}
"""Plain scalars that two readers would read in two ways, or that no JSON has."""


@pytest.fixture
async def client(tmp_path):
    async with running(tmp_path) as plane, client_of(plane) as client:
        yield client


async def test_a_document_of_yaml_is_the_document_of_json(client):
    document = model("org/m", description="größe")
    first = await client.put(f"{CONFIGS}/models/org/m", json=document)
    assert first.status_code == 201
    for media in ("application/yaml", "Application/YAML; charset=utf-8"):
        text = yaml.safe_dump(document, allow_unicode=True).encode()
        again = await client.put(
            f"{CONFIGS}/models/org/m", content=text, headers={"content-type": media}
        )
        assert (again.status_code, again.json()["changed"]) == (200, False), again.text
    text = json.dumps(document).encode()
    same = await client.post(f"{CONFIGS}/models", content=text, headers=YAML)
    assert same.json()["changed"] is False, "JSON is YAML"


async def test_a_batch_of_yaml_is_one_entry_and_its_refusals_are_named(client):
    text = """
operations:
  - &put {op: put, kind: pool, key: eu, document: {name: eu, machine_profiles: [cpu]}}
  - <<: *put
    key: us
    document: {name: us, machine_profiles: [cpu]}
"""
    done = await client.post(f"{CONFIGS}/batch", content=text, headers=YAML)
    assert done.status_code == 201, done.text
    assert [each["key"] for each in done.json()["changes"]] == ["eu", "us"]
    bad = await client.post(
        f"{CONFIGS}/batch", content=text.replace("name: us", "nmae: us"), headers=YAML
    )
    assert bad.json()["detail"]["details"][0]["path"].startswith("operations.1.")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"name: a\nname: b\n", "line 2: the key 'name' stands twice"),
        (b"name: [\n", "is no YAML"),
        (b"name: a\n---\nname: b\n", "holds 2 documents"),
        (b"", "holds 0 documents"),
        (b"name: \xff\n", "not UTF-8: byte 6"),
        (b"name: !!python/object:os.system x\n", "type"),
        (b"name: &x [*x]\n", "holds itself"),
        (b"workers_min: 9007199254740993\n", "cannot be read"),
        (b"[" * 100, "levels"),
        (
            b"a: &a [" + b"x," * 99 + b"]\nb: &b [" + b"*a," * 99 + b"]\nc: [" + b"*b," * 9 + b"]",
            "values",
        ),
        (b"# \n" * 100_000, "send a larger one as JSON"),
    ],
)
async def test_what_is_no_plain_document_is_refused_by_its_line(client, text, told):
    refused = await client.put(f"{CONFIGS}/pools/p", content=text, headers=YAML)
    assert refused.status_code in {400, 413, 422}, refused.text
    assert told in refused.json()["detail"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("revert", {"to": 1, "entites": []}, "did you mean 'entities'?"),
        ("revert", {"to": 1, "entities": [{"knd": "pool", "key": "p"}]}, "did you mean 'kind'?"),
        ("revert", {"to": 1, "since": 2}, "it takes entities, to"),
        ("revert", {"to": 1, "key": "p"}, "it stands in `entities`"),
        ("batch", {"operations": [{"op": "add", "kind": "pool"}]}, "it takes delete, patch, put"),
        ("batch", {"operations": [{"op": "put", "kind": "modle"}]}, "did you mean 'model'?"),
        ("batch", {"operations": [], "simultanous": True}, "did you mean 'simultaneous'?"),
    ],
)
async def test_an_unknown_name_in_a_body_is_told_the_one_that_was_meant(client, path, body, told):
    refused = await client.post(f"{CONFIGS}/{path}", json=body)
    assert refused.status_code == 422, refused.text
    detail = refused.json()["detail"]
    assert told in detail["message"] and told in detail["details"][0]["message"]


@pytest.mark.parametrize("scalar", NOT_GUESSED)
async def test_no_scalar_is_guessed_here_or_at_the_command_line(client, scalar, tmp_path):
    text = f"kind: pool\nname: p\nworkers_min: {scalar}\n"
    refused = await client.put(
        f"{CONFIGS}/pools/p", content=text.replace("kind: pool\n", ""), headers=YAML
    )
    assert NOT_GUESSED[scalar].strip("'") in refused.json()["detail"]["message"].replace("'", "")
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(FixRequest, match="line 3"):
        read_documents(str(tmp_path / "p.yaml"))


async def test_1e1_is_a_number_and_what_is_json_is_read_as_json(tmp_path):
    (tmp_path / "p.yaml").write_text("{kind: pool, name: p, workers_min: 1e1}")
    (tmp_path / "q.json").write_text('{"kind": "pool", "name": "yes", "description": "010"}')
    found = {each.key: each.document for each in read_documents(str(tmp_path)).documents}
    assert found["p"]["workers_min"] == 10 and isinstance(found["p"]["workers_min"], float)
    assert found["yes"]["description"] == "010"
    (tmp_path / "q.json").write_text('{"kind": pool}')
    with pytest.raises(FixRequest, match=r"q\.json is no JSON: line 1"):
        read_documents(str(tmp_path))


async def test_other_types_of_bodies_are_refused_as_before(client):
    for media in ("text/yaml", "text/plain", "application/x-yaml", ""):
        refused = await client.put(
            f"{CONFIGS}/pools/p", content=b"name: p", headers={"content-type": media}
        )
        assert refused.json()["detail"]["field"] == "Content-Type"
    revert = await client.post(f"{CONFIGS}/revert", content=b"to: 1", headers=YAML)
    assert revert.json()["detail"]["field"] == "Content-Type", "documents alone are YAML"
