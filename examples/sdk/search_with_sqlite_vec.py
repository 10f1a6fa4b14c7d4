"""A table of SQLite with vectors that a cluster makes: `pip install . sqlite-vec apsw`.

Python's own SQLite may load extensions or not; apsw's always may.
"""

import os

import apsw
import sqlite_vec

from sie_sdk import SIEClient

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
TEXTS = ["A cat sleeps on the mat.", "Interest rates rose again.", "The dog chased a ball."]


def main() -> None:
    """Store texts with their vectors, and search them."""
    client = SIEClient(os.environ.get("SIE_BASE_URL", "http://127.0.0.1:8080"))
    vectors = [result["dense"] for result in client.encode(MODEL, TEXTS)]
    store = apsw.Connection(":memory:")
    store.enable_load_extension(True)
    store.load_extension(sqlite_vec.loadable_path())
    store.execute(
        f"CREATE VIRTUAL TABLE texts USING vec0(vector float[{len(vectors[0])}], +text TEXT)"
    )
    store.executemany(
        "INSERT INTO texts(vector, text) VALUES (?, ?)",
        [(vector.tobytes(), text) for vector, text in zip(vectors, TEXTS, strict=True)],
    )
    asked = client.encode(MODEL, "finance", is_query=True)["dense"]
    query = "SELECT text FROM texts WHERE vector MATCH ? AND k = 1"
    [(text,)] = store.execute(query, [asked.tobytes()])
    print(text)


if __name__ == "__main__":
    main()
