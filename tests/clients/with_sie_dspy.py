"""The published integration for DSPy, with the published SDK."""

import sys

import dspy
from sie_dspy import SIEEmbedder, SIEExtractor, SIEReranker, SIESparseEmbedder


def main(url: str) -> None:
    """Embedders of two kinds, DSPy's own retriever over one of them, a reranker, an extractor."""
    embedder = SIEEmbedder(base_url=url, model="org/dense")
    assert embedder(["a", "bb"]).tolist() == [[1, 0, 0], [2, 1, 0]]
    corpus = ["a", "a much longer text"]
    retriever = dspy.retrievers.Embeddings(corpus=corpus, embedder=embedder, k=2, normalize=False)
    assert set(retriever("q").passages) == set(corpus)
    sparse = SIESparseEmbedder(base_url=url, model="org/many")
    assert sparse.embed_query("four") == {"indices": [7], "values": [4.0]}
    ranked = SIEReranker(base_url=url, model="ranker")(query="q", passages=["a", "ccc"], k=1)
    assert ranked.passages == ["ccc"]
    found = SIEExtractor(base_url=url, model="finder")(text="find me")
    assert found.entities[0].text == "find me"


if __name__ == "__main__":
    main(sys.argv[1])
