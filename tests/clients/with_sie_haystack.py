"""The published integration for Haystack, with the published SDK."""

import sys

from haystack import Document, Pipeline
from sie_haystack import (
    SIEDocumentEmbedder,
    SIEExtractor,
    SIEMultivectorTextEmbedder,
    SIERanker,
    SIESparseTextEmbedder,
    SIETextEmbedder,
)


def main(url: str) -> None:
    """Embedders of three kinds, a ranker, an extractor, and a pipeline of one of them."""
    pipeline = Pipeline()
    pipeline.add_component("embedder", SIETextEmbedder(base_url=url, model="org/dense"))
    answer = pipeline.run({"embedder": {"text": "four"}})
    assert answer["embedder"]["embedding"] == [4.0, 0.0, 0.0]
    documents = [Document(content="a"), Document(content="ccc")]
    embedded = SIEDocumentEmbedder(base_url=url, model="org/dense").run(documents)["documents"]
    assert [each.embedding[0] for each in embedded] == [1.0, 3.0]
    sparse = SIESparseTextEmbedder(base_url=url, model="org/many").run("four")
    assert sparse["sparse_embedding"] == {"indices": [7], "values": [4.0]}
    many = SIEMultivectorTextEmbedder(base_url=url, model="org/many").run("four")
    assert many["multivector_embedding"] == [[4.0, 0.0, 0.0]]
    ranked = SIERanker(base_url=url, model="ranker", top_k=1).run("q", documents)["documents"]
    assert [each.content for each in ranked] == ["ccc"]
    found = SIEExtractor(base_url=url, model="finder").run("find me")
    assert found["entities"][0].text == "find me"


if __name__ == "__main__":
    main(sys.argv[1])
