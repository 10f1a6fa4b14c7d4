"""The published integration for Weaviate, with the published SDK.

It makes what Weaviate's client stores, and needs no Weaviate for it.
"""

import asyncio
import sys
from typing import Any

from sie_weaviate import SIEDocumentEnricher, SIENamedVectorizer, SIEVectorizer
from weaviate.classes.data import DataObject


def main(url: str) -> None:
    """Vectors of two kinds, and documents with what was found in them."""
    vectorizer = SIEVectorizer(base_url=url, model="org/dense")
    assert vectorizer.embed_documents(["a", "bb"]) == [[1.0, 0.0, 0.0], [2.0, 1.0, 0.0]]
    assert vectorizer.embed_query("ccc") == [3.0, 0.0, 0.0]
    named = SIENamedVectorizer(
        base_url=url, model="org/many", output_types=["dense", "multivector"]
    ).embed_documents(["four"])
    assert named == [{"dense": [4.0, 0.0, 0.0], "multivector": [[4.0, 0.0, 0.0]]}]
    with SIEDocumentEnricher(
        base_url=url, embed_model="org/dense", extract_model="finder", labels=["ALL"]
    ) as enricher:
        [document] = enricher.enrich(["find me"])
        assert document.vector == [7.0, 0.0, 0.0]
        assert "find me" in str(document.properties)
        assert DataObject(properties=document.properties, vector=document.vector).vector
    assert asyncio.run(enriched(url))[0].vector == [7.0, 0.0, 0.0]


async def enriched(url: str) -> list[Any]:
    """The same, asynchronously."""
    async with SIEDocumentEnricher(
        base_url=url, embed_model="org/dense", extract_model="finder"
    ) as enricher:
        return list(await enricher.aenrich(["find me"]))


if __name__ == "__main__":
    main(sys.argv[1])
