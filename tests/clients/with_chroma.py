"""Chroma's functions for OpenAI and Text Embeddings Inference: collections in memory."""

import sys

import chromadb
from chromadb.utils.embedding_functions import (
    HuggingFaceEmbeddingServer,
    OpenAIEmbeddingFunction,
)


def main(url: str) -> None:
    """Make a collection with each, add to it, search it."""
    client = chromadb.EphemeralClient()
    # Text Embeddings Inference gives vectors of length 1, unless it is told not to.
    for name, made, length in (
        ("openai", OpenAIEmbeddingFunction("none", "org/dense", api_base=f"{url}/v1"), 4.0),
        ("tei", HuggingFaceEmbeddingServer(f"{url}/tei/org/dense/embed"), 1.0),
    ):
        collection = client.create_collection(name, embedding_function=made)
        collection.add(ids=["1", "2"], documents=["a", "a much longer text"])
        found = collection.query(query_texts=["another long text"], n_results=1)
        # Chroma's space for a server of embeddings is the cosine, which is of the direction alone.
        assert len(found["ids"][0]) == 1, name
        assert made(["four"])[0].tolist() == [length, 0.0, 0.0], name


if __name__ == "__main__":
    main(sys.argv[1])
