"""Clients of services that host models: Mistral's, Together's and Xinference's."""

import sys

from mistralai import Mistral
from together import NotFoundError, Together
from xinference_client import RESTfulClient

VECTORS = [[4.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
TEXTS = ["four", "a"]


def main(url: str) -> None:
    """Embeddings, rankings and an error of each, with their defaults."""
    mistral = Mistral(api_key="none", server_url=url)
    told = mistral.embeddings.create(model="org/dense", inputs=TEXTS)
    assert [each.embedding for each in told.data] == VECTORS

    together = Together(api_key="none", base_url=url, max_retries=0)
    found = together.embeddings.create(model="org/dense", input=TEXTS)
    assert [each.embedding for each in found.data] == VECTORS
    documents = [{"title": "x", "text": "a"}, {"title": "x", "text": "ccc"}]
    ranked = together.rerank.create(
        model="ranker", query="q", documents=documents, rank_fields=["title", "text"], top_n=1
    )
    assert [each.index for each in ranked.results] == [1]
    try:
        together.embeddings.create(model="nobody", input="a")
    except NotFoundError as error:
        assert "there is no model" in str(error)
    else:
        raise AssertionError("an unknown model was found")

    xinference = RESTfulClient(url)
    embedded = xinference.get_model("org/dense").create_embedding(TEXTS)
    assert [each["embedding"] for each in embedded["data"]] == VECTORS
    best = xinference.get_model("ranker").rerank(["a", "ccc"], "q", top_n=1, return_documents=True)
    assert [each["document"]["text"] for each in best["results"]] == ["ccc"]


if __name__ == "__main__":
    main(sys.argv[1])
