"""The published integration for CrewAI, with the published SDK."""

import sys

from sie_crewai import SIEExtractorTool, SIERerankerTool, SIESparseEmbedder


def main(url: str) -> None:
    """The tools that agents are given, and the embedder."""
    sparse = SIESparseEmbedder(base_url=url, model="org/many")
    assert sparse.embed_documents(["four"]) == [{"indices": [7], "values": [4.0]}]
    ranked = SIERerankerTool(base_url=url, model="ranker").run(query="q", documents=["a", "ccc"])
    assert ranked.index("ccc") < ranked.index("] a")
    assert "find me" in SIEExtractorTool(base_url=url, model="finder").run(text="find me")


if __name__ == "__main__":
    main(sys.argv[1])
