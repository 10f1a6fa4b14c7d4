"""The published integration for LangChain, with the published SDK."""

import sys

from langchain_core.documents import Document
from sie_langchain import SIEEmbeddings, SIEExtractor, SIEReranker


def main(url: str) -> None:
    """Embeddings, a reranker, an extractor."""
    embeddings = SIEEmbeddings(base_url=url, model="org/dense")
    assert embeddings.embed_documents(["a", "bb"]) == [[1.0, 0.0, 0.0], [2.0, 1.0, 0.0]]
    assert embeddings.embed_query("ccc") == [3.0, 0.0, 0.0]
    reranker = SIEReranker(base_url=url, model="ranker")
    ranked = reranker.compress_documents([Document("a"), Document("ccc")], "q")
    assert [each.page_content for each in ranked] == ["ccc", "a"]
    extractor = SIEExtractor(base_url=url, model="finder", labels=[])
    assert "find me" in str(extractor.invoke("find me"))


if __name__ == "__main__":
    main(sys.argv[1])
