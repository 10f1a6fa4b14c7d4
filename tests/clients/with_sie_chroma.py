"""The published integration for Chroma, with the published SDK: a collection in memory."""

import sys

import chromadb
from sie_chroma import SIEEmbeddingFunction, SIESparseEmbeddingFunction


def main(url: str) -> None:
    """Make a collection, add to it, search it."""
    made = SIEEmbeddingFunction(base_url=url, model="org/dense")
    collection = chromadb.EphemeralClient().create_collection("documents", embedding_function=made)
    collection.add(ids=["1", "2"], documents=["a", "a much longer text"])
    found = collection.query(query_texts=["another long text"], n_results=1)
    assert found["ids"] == [["2"]]
    sparse = SIESparseEmbeddingFunction(base_url=url, model="org/many")
    assert sparse(["four"]) == [{7: 4.0}]


if __name__ == "__main__":
    main(sys.argv[1])
