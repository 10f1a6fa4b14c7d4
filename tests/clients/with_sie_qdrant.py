"""The published integration for Qdrant, with the published SDK: a collection in memory."""

import sys

from qdrant_client import QdrantClient, models
from sie_qdrant import SIENamedVectorizer, SIEVectorizer


def main(url: str) -> None:
    """Make a collection of named vectors, dense and sparse, and search both."""
    assert SIEVectorizer(base_url=url, model="org/dense").embed_query("ccc") == [3.0, 0.0, 0.0]
    vectorizer = SIENamedVectorizer(
        base_url=url, model="org/many", output_types=["dense", "sparse", "multivector"]
    )
    texts = ["a", "a much longer text"]
    store = QdrantClient(":memory:")
    distance = models.Distance.EUCLID
    store.create_collection(
        "documents",
        vectors_config={"dense": models.VectorParams(size=3, distance=distance)},
        sparse_vectors_config={"sparse": models.SparseVectorParams()},
    )
    points = [
        models.PointStruct(
            id=index,
            vector={
                "dense": named["dense"],
                "sparse": models.SparseVector(**named["sparse"]),
            },
            payload={"text": text},
        )
        for index, (text, named) in enumerate(
            zip(texts, vectorizer.embed_documents(texts), strict=True)
        )
    ]
    store.upsert("documents", points)
    asked = vectorizer.embed_query("another long text")
    assert asked["multivector"] == [[17.0, 0.0, 0.0]]
    for name, query in (
        ("dense", asked["dense"]),
        ("sparse", models.SparseVector(**asked["sparse"])),
    ):
        best = store.query_points("documents", query=query, using=name, limit=1).points
        assert best[0].payload == {"text": texts[1]}, name


if __name__ == "__main__":
    main(sys.argv[1])
