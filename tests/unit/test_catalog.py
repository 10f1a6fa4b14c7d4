"""The catalog of published models: its facts, its families, and the documents that are offered."""

import importlib.resources
import json
import re
from pathlib import Path

import msgspec
import pytest
from msgspec import structs
from tests.support.config_process import config_process
from tests.support.config_writer import client_of, running
from tests.support.log_world import nowhere
from tests.support.models_page import PAGE, page

from sie_catalog.bundles import BUNDLES
from sie_catalog.families import FAMILIES
from sie_catalog.offers import REASON, document_of, offered, reason_not, verified
from sie_catalog.published import Published, published
from sie_cli.models.catalog_work import models
from sie_cli.show.printing import Form
from sie_config.writer.rules import Index, Put, admit
from sie_config.writer.seed import SEED, first_entries
from sie_core.registry import Entity, Registry
from sie_schemas import canonical
from sie_schemas.documents import admit_document
from sie_schemas.entry import Change
from sie_server.backends.names import backend_names

ROOT = Path(__file__).parents[2]
ROWS = published()


def _bytes(change: Change) -> bytes:
    assert isinstance(change.document, msgspec.Raw)
    return bytes(change.document)


def _row(name: str) -> Published:
    return next(row for row in ROWS if row.id == name)


def test_each_model_stands_once_and_in_order_and_is_of_a_known_family():
    names = [row.id for row in ROWS]
    assert names == sorted(set(names), key=str.lower)
    assert len(names) > 150
    assert {row.family for row in ROWS} == FAMILIES.keys()


def test_a_family_is_run_by_a_backend_or_says_why_not():
    of_bundles = [backend for bundle in BUNDLES.values() for backend in bundle.backends]
    for name, family in FAMILIES.items():
        assert bool(family.backend) != bool(family.refused), name
        assert family.backend in {"", *backend_names(), *of_bundles}, name
        assert family.backend or not family.proven, f"{name} is proven and does not run"


def test_a_proof_is_a_case_of_a_suite():
    for case in sorted({case for family in FAMILIES.values() for case in family.proven}):
        path, _, rest = case.partition("::")
        test, _, row = rest.partition("[")
        text = (ROOT / path).read_text()
        assert re.search(rf"def {test}\b", text), case
        assert f'"{row.rstrip("]")}"' in text, case


def test_the_models_that_first_lines_name_are_offered():
    names = {document["model_id"] for document in offered("small")}
    assert {"NovaSearch/stella_en_400M_v5", "BAAI/bge-m3", "BAAI/bge-small-en-v1.5"} <= names
    assert names < {document["model_id"] for document in offered("all")}
    assert list(offered("none")) == []


def test_every_offer_is_admitted_beside_what_a_new_log_holds():
    held = [(each.kind.partition(".")[0], each.key, _bytes(each)) for each in SEED]
    registry = Registry.of([Entity(kind, key, 1, body) for kind, key, body in held])
    index = Index.of(registry)
    documents = list(offered("all"))
    assert len(documents) >= 30
    for given in documents:
        document = admit_document("model", given)
        put = Put("model", document["model_id"], document, canonical.dumps(document))
        assert admit(registry, index, "0" * 32, put).created, given["model_id"]


def test_a_document_leaves_to_the_files_what_they_say():
    profile = document_of(_row("WhereIsAI/UAE-Large-V1"))["profiles"]["default"]
    assert profile == {"backend": "transformer"}
    e5 = document_of(_row("intfloat/e5-base-v2"))["profiles"]["default"]["options"]
    assert e5 == {"query_template": "query: {text}", "doc_template": "passage: {text}"}
    plain = document_of(_row("answerdotai/ModernBERT-base"))["profiles"]["default"]
    assert plain["options"] == {"pooling": "cls", "normalize": True}
    pii = document_of(_row("knowledgator/gliner-pii-base-v1.0"))
    assert (pii["tasks"], pii["profiles"]["default"]["options"]) == (
        {"extract": {}},
        {"threshold": 0.3},
    )
    judge = document_of(_row("Qwen/Qwen3-Reranker-0.6B"))
    options = judge["profiles"]["default"]["options"]
    assert options["pair_template"] == "qwen3"
    assert options["default_instruction"].startswith("Given a web search query")


def test_an_offer_is_of_the_repository_at_the_commit_that_its_row_names():
    folder = importlib.resources.files("sie_catalog")
    facts = {
        told["id"]: told
        for told in map(json.loads, (folder / "published.jsonl").read_text().splitlines())
    }
    where = {name: told.get("hub", name) for name, told in facts.items()}
    assert {row.id: row.repository for row in ROWS} == where
    for document in offered("all"):
        told = facts[document["model_id"]]
        source = {"type": "hub", "id": where[told["id"]], "revision": told["commit"]}
        assert document["source"] == source


@pytest.mark.parametrize("threshold", [0.0, 0.25, 1.0])
def test_a_threshold_is_offered_whatever_it_is(threshold):
    row = structs.replace(_row("knowledgator/gliner-pii-base-v1.0"), threshold=threshold)
    assert document_of(row)["profiles"]["default"]["options"]["threshold"] == threshold


def test_a_model_that_is_not_offered_leads_to_one_that_is_or_to_a_command() -> None:
    ids = {row.id for row in published() if not reason_not(row)}
    for row in published():
        reason = reason_not(row)
        named = set(re.findall(r"[\w.-]+/[\w.-]+", reason))
        assert not reason or named & ids or "`sie " in reason, row.id
        assert "sie add" in reason or named <= ids, row.id


def test_a_model_that_is_not_offered_says_why():
    unpinned = "jinaai/jina-embeddings-v2-base-de"
    assert f"sie add {unpinned}" in reason_not(_row(unpinned))
    assert "open_clip" in reason_not(_row("Marqo/marqo-fashionSigLIP"))
    assert "extracts no relations" in reason_not(_row("knowledgator/gliner-relex-large-v1.0"))
    assert "another than GLiNER's" in reason_not(_row("fastino/gliner2-base-v1"))
    assert reason_not(_row("NovaSearch/stella_en_400M_v5")) == ""
    assert verified(_row("fastino/gliner2-base-v1")) == "none"
    assert verified(_row("urchade/gliner_multi-v2.1")) == "layout"
    assert verified(_row("sentence-transformers/all-MiniLM-L6-v2")) == "weights"


def test_a_list_in_a_pipe_says_beside_its_columns_why_a_model_is_not_run(capsys):
    assert models(None, "jina-embeddings-v2", Form.TABLE) == 0
    listed = capsys.readouterr()
    assert "not pinned" in listed.out
    assert "sie add" not in listed.out, "a sentence makes every line as wide as itself"
    assert "2 of these cannot be asked as they are: -o wide tells why" in listed.err
    assert models(None, "jina-embeddings-v2", Form.WIDE) == 0
    assert "sie add jinaai/jina-embeddings-v2-base-de" in capsys.readouterr().out


def test_the_page_of_models_is_the_catalog():
    assert PAGE.read_text() == page(), f"python -m tests.support.models_page writes {PAGE.name}"


def test_the_whole_catalog_is_small():
    seed, catalog = first_entries("all")
    assert catalog.reason.startswith(REASON)
    assert seed.changes == SEED
    size = sum(len(_bytes(change)) for change in catalog.changes)
    assert size < 1_000_000, "a follower holds it, and one message carries it"


async def test_a_new_log_begins_with_the_catalog_as_one_entry_and_a_later_start_adds_none(tmp_path):
    async with running(tmp_path, catalog="all") as plane, client_of(plane) as client:
        entries = (await client.get("/v1/configs/log", params={"after": 0})).json()["entries"]
        bodies = [each["body"] for each in entries]
        found = [body for body in bodies if body["reason"].startswith(REASON)]
        assert [len(body["changes"]) for body in found] == [len(list(offered("all")))]
        head = (await client.get("/v1/configs/epoch")).json()["epoch"]
        assert (await client.delete("/v1/configs/models/BAAI/bge-reranker-base")).is_success
    async with running(tmp_path, catalog="all") as plane, client_of(plane) as client:
        # The deletion, and the term of the new writer.
        assert (await client.get("/v1/configs/epoch")).json()["epoch"] == head + 2
        answer = await client.get("/v1/configs/models/BAAI/bge-reranker-base")
        assert answer.status_code == 404, "a deleted model stays deleted"


@pytest.mark.integration
async def test_the_flag_of_the_process_names_the_catalog(tmp_path):
    async with config_process(tmp_path, nowhere(), "--catalog", "small") as (_, client):
        listed = (await client.get("/v1/configs/models")).json()["models"]
        names = {row["model_id"] for row in listed}
        assert names == {document["model_id"] for document in offered("small")}
