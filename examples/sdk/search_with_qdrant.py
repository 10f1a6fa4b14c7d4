"""A Qdrant collection whose vectors a cluster makes: `pip install . qdrant-client`."""

import os

from qdrant_client import QdrantClient, models

from sie_sdk import SIEClient

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
TEXTS = ["A cat sleeps on the mat.", "Interest rates rose again.", "The dog chased a ball."]


def main() -> None:
    """Store texts with their vectors, and search them."""
    client = SIEClient(os.environ.get("SIE_BASE_URL", "http://127.0.0.1:8080"))
    vectors = [result["dense"] for result in client.encode(MODEL, TEXTS)]
    store = QdrantClient(":memory:")
    store.create_collection(
        "texts",
        vectors_config=models.VectorParams(size=len(vectors[0]), distance=models.Distance.COSINE),
    )
    store.upsert(
        "texts",
        [
            models.PointStruct(id=number, vector=vector.tolist(), payload={"text": text})
            for number, (text, vector) in enumerate(zip(TEXTS, vectors, strict=True))
        ],
    )
    asked = client.encode(MODEL, "finance", is_query=True)["dense"]
    [best] = store.query_points("texts", query=asked.tolist(), limit=1).points
    print((best.payload or {})["text"])


if __name__ == "__main__":
    main()
