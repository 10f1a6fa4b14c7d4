"""LlamaIndex's classes for OpenAI-like APIs, Text Embeddings Inference, Cohere, Jina and NVIDIA."""

import asyncio
import sys

from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.embeddings.nvidia import NVIDIAEmbedding
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
from llama_index.postprocessor.cohere_rerank import CohereRerank
from llama_index.postprocessor.jinaai_rerank import JinaRerank
from llama_index.postprocessor.nvidia_rerank import NVIDIARerank
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference


def main(url: str) -> None:
    """Embeddings of both, and a reranker."""
    openai_like = OpenAILikeEmbedding(
        model_name="org/dense", api_base=f"{url}/v1", api_key="none", embed_batch_size=10
    )
    tei = TextEmbeddingsInference(model_name="org/dense", base_url=f"{url}/tei/org/dense")
    # Text Embeddings Inference gives vectors of length 1, unless it is told not to.
    for embedding, length in ((openai_like, 3.0), (tei, 1.0)):
        found = embedding.get_text_embedding_batch(["a", "bb"])
        assert [round(row[1] / row[0], 6) for row in found] == [0.0, 0.5]
        assert asyncio.run(embedding.aget_text_embedding("ccc")) == [length, 0.0, 0.0]
    nvidia = NVIDIAEmbedding(model="org/dense", base_url=f"{url}/v1", api_key="none")
    assert nvidia.get_text_embedding("four") == [4.0, 0.0, 0.0]
    for reranker in (
        TextEmbeddingInference(base_url=f"{url}/tei/ranker", top_n=1),
        CohereRerank(model="ranker", base_url=url, api_key="none", top_n=1),
        JinaRerank(model="ranker", base_url=f"{url}/v1", api_key="none", top_n=1),
        NVIDIARerank(model="ranker", base_url=f"{url}/v1", api_key="none", top_n=1),
    ):
        nodes = [NodeWithScore(node=TextNode(text=text)) for text in ("a", "ccc")]
        ranked = reranker.postprocess_nodes(nodes, QueryBundle("q"))
        assert [each.node.get_content() for each in ranked] == ["ccc"], type(reranker)


if __name__ == "__main__":
    main(sys.argv[1])
