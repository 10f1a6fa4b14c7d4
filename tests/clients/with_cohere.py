"""Cohere's own client, both of its versions."""

import sys

import cohere


def main(url: str) -> None:
    """Rerank and embed."""
    first = cohere.Client("none", base_url=url)
    objects = [{"text": "a"}, {"text": "ccc"}]
    ranked = first.rerank(
        model="ranker", query="q", documents=objects, return_documents=True, top_n=1
    )
    assert [(each.index, each.document.text) for each in ranked.results] == [(1, "ccc")]
    assert ranked.id and ranked.meta.billed_units.search_units == 1
    embedded = first.embed(model="org/dense", texts=["a", "ccc"], input_type="search_document")
    assert embedded.embeddings == [[1.0, 0.0, 0.0], [3.0, 1.0, 0.0]]

    second = cohere.ClientV2("none", base_url=url)
    best = second.rerank(
        model="ranker", query="q", documents=["a", "ccc"], top_n=1, max_tokens_per_doc=4096
    )
    assert [each.index for each in best.results] == [1]
    typed = second.embed(
        model="org/dense", texts=["a"], input_type="search_query", embedding_types=["float"]
    )
    assert typed.embeddings.float_ == [[1.0, 0.0, 0.0]]
    try:
        second.rerank(model="nobody", query="q", documents=["a"])
    except cohere.NotFoundError as error:
        assert "nobody" in error.body["message"]
    else:
        raise AssertionError("an unknown model was found")


if __name__ == "__main__":
    main(sys.argv[1])
