"""Clients of other providers' services: Voyage's, NVIDIA's, and a ranker that speaks to several."""

import sys
from typing import Any

import voyageai
from langchain_core.documents import Document
from langchain_nvidia_ai_endpoints import NVIDIAEmbeddings, NVIDIARerank
from rerankers import Reranker

FOUR = [4.0, 0.0, 0.0]


def main(url: str) -> None:
    """Each with its defaults, and with what it says of a text."""
    voyage = voyageai.Client(api_key="none", base_url=f"{url}/voyage/v1", max_retries=0)
    asked = voyage.embed(["four"], model="org/dense", input_type="query", output_dimension=3)
    assert (asked.embeddings, asked.total_tokens) == ([FOUR], 3)
    assert voyage.embed(["four"], model="org/dense").embeddings == [FOUR]
    signs = voyage.embed(["four"], model="org/dense", output_dtype="binary")
    assert signs.embeddings == [[0]]
    best = voyage.rerank("q", ["a", "ccc"], model="ranker", top_k=1)
    assert [(each.index, each.document) for each in best.results] == [(1, "ccc")]
    try:
        voyage.rerank("q", [], model="ranker")
    except voyageai.error.InvalidRequestError as error:
        assert "$.documents is empty" in str(error), error
    else:
        raise AssertionError("nothing was ranked")
    told: dict[str, Any] = {"model": "org/dense", "base_url": f"{url}/v1", "api_key": "none"}
    nvidia = NVIDIAEmbeddings(**told, truncate="END")
    assert nvidia.embed_query("four") == FOUR
    assert nvidia.embed_documents(["four"]) == [FOUR]
    passages = [Document(page_content=text) for text in ("a", "ccc")]
    by_nvidia = NVIDIARerank(model="ranker", base_url=f"{url}/v1", api_key="none")
    ranked = by_nvidia.compress_documents(passages, "q")
    assert [each.page_content for each in ranked] == ["ccc", "a"]
    for provider, path in (("cohere", "/v1/rerank"), ("text-embeddings-inference", "/rerank")):
        ranker = Reranker(
            "ranker",
            model_type="APIRanker",
            api_provider=provider,
            api_key="none",
            url=f"{url}{'/tei/ranker' if path == '/rerank' else ''}{path}",
        )
        found = ranker.rank("q", ["a", "ccc"], doc_ids=[0, 1])
        assert [each.doc_id for each in found.results] == [1, 0], found


if __name__ == "__main__":
    main(sys.argv[1])
