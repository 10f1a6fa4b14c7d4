"""The published integration for LanceDB: a table whose vectors the cluster makes."""

import sys
import tempfile

import lancedb
from lancedb.embeddings import get_registry
from lancedb.pydantic import LanceModel, Vector
from sie_lancedb import SIEEmbeddingFunction


def main(url: str) -> None:
    """Make a table, add to it, search it."""
    assert SIEEmbeddingFunction is not None
    made = get_registry().get("sie").create(base_url=url, model="org/dense")
    assert made.ndims() == 3

    class Document(LanceModel):  # type: ignore[misc]
        text: str = made.SourceField()
        vector: Vector(made.ndims()) = made.VectorField()  # type: ignore[valid-type]

    with tempfile.TemporaryDirectory() as folder:
        table = lancedb.connect(folder).create_table("documents", schema=Document)
        table.add([{"text": "a"}, {"text": "four"}])
        best = table.search("four").limit(1).to_list()
    assert best[0]["text"] == "four"


if __name__ == "__main__":
    main(sys.argv[1])
