"""A Chroma collection whose vectors a cluster makes: `pip install . chromadb`."""

import os
from collections.abc import Sequence

import chromadb

from sie_sdk import SIEClient

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
TEXTS = ["A cat sleeps on the mat.", "Interest rates rose again.", "The dog chased a ball."]


def main() -> None:
    """Store texts with their vectors, and search them."""
    client = SIEClient(os.environ.get("SIE_BASE_URL", "http://127.0.0.1:8080"))

    def vectors_of(texts: list[str], is_query: bool) -> list[Sequence[float]]:
        results = client.encode(MODEL, texts, is_query=is_query)
        return [result["dense"].tolist() for result in results]

    collection = chromadb.EphemeralClient().create_collection("texts", embedding_function=None)
    collection.add(
        ids=[str(number) for number in range(len(TEXTS))],
        documents=TEXTS,
        embeddings=vectors_of(TEXTS, False),
    )
    found = collection.query(query_embeddings=vectors_of(["finance"], True), n_results=1)
    print((found["documents"] or [])[0][0])


if __name__ == "__main__":
    main()
