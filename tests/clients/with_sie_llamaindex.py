"""The published integration for LlamaIndex, with the published SDK."""

import asyncio
import sys

from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from sie_llamaindex import (
    SIEEmbedding,
    SIENodePostprocessor,
    SIESparseEmbeddingFunction,
    create_sie_extractor_tool,
)


def main(url: str) -> None:
    """Embeddings of three kinds, a reranker, a tool that extracts."""
    embedding = SIEEmbedding(base_url=url, model_name="org/dense")
    assert embedding.get_text_embedding_batch(["a", "bb"]) == [[1.0, 0.0, 0.0], [2.0, 1.0, 0.0]]
    assert embedding.get_query_embedding("ccc") == [3.0, 0.0, 0.0]
    assert asyncio.run(embedding.aget_query_embedding("ccc")) == [3.0, 0.0, 0.0]
    sparse = SIESparseEmbeddingFunction(base_url=url, model_name="org/many")
    assert sparse.encode_documents(["four"]) == ([[7]], [[4.0]])
    reranker = SIENodePostprocessor(base_url=url, model="ranker", top_n=1)
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in ("a", "ccc")]
    ranked = reranker.postprocess_nodes(nodes, QueryBundle("q"))
    assert [each.node.get_content() for each in ranked] == ["ccc"]
    tool = create_sie_extractor_tool(base_url=url, model="finder")
    assert tool.call("find me").raw_output["entities"][0]["text"] == "find me"


if __name__ == "__main__":
    main(sys.argv[1])
