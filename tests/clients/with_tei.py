"""A client of Text Embeddings Inference, which asks what the model is before anything else."""

import asyncio
import sys

from tei_client import HttpClient


def main(url: str) -> None:
    """Vectors of texts and of tokens, and a ranking."""
    dense = HttpClient(f"{url}/tei/org/dense")
    assert dense.health()
    assert dense.info().server_model_id == "org/dense"
    assert dense.embed("four") == [[1.0, 0.0, 0.0]]
    assert asyncio.run(dense.async_embed(["four"], prompt_name="query")) == [[1.0, 0.0, 0.0]]
    assert HttpClient(f"{url}/tei/org/many").embed_all("four") == [[[1.0, 0.0, 0.0]]]
    ranked = HttpClient(f"{url}/tei/ranker").rerank("q", ["a", "ccc"])
    assert [each.index for each in ranked.ranks] == [1, 0], ranked


if __name__ == "__main__":
    main(sys.argv[1])
