"""LangChain's classes for OpenAI and Cohere."""

import sys

from langchain_cohere import CohereEmbeddings, CohereRerank
from langchain_openai import OpenAIEmbeddings


def main(url: str) -> None:
    """Embeddings and a reranker."""
    # It sends token ids of OpenAI's vocabulary, which this gateway was given.
    embeddings = OpenAIEmbeddings(base_url=f"{url}/v1", api_key="none", model="org/dense")
    assert embeddings.embed_documents(["a", "bb"]) == [[1.0, 0.0, 0.0], [2.0, 1.0, 0.0]]
    assert embeddings.embed_query("Zürich, 東京") == [10.0, 0.0, 0.0]
    reranker = CohereRerank(model="ranker", cohere_api_key="none", base_url=url, top_n=1)
    assert [each["index"] for each in reranker.rerank(["a", "ccc"], "q")] == [1]
    other = CohereEmbeddings(model="org/dense", cohere_api_key="none", base_url=url)
    assert other.embed_query("ccc") == [3.0, 0.0, 0.0]


if __name__ == "__main__":
    main(sys.argv[1])
