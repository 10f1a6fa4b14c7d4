"""Haystack's components for OpenAI, Text Embeddings Inference, Cohere, Jina, Mistral and NVIDIA."""

import sys

from haystack import Document
from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
from haystack.utils import Secret
from haystack_integrations.components.embedders.cohere import CohereTextEmbedder
from haystack_integrations.components.embedders.huggingface_api import (
    HuggingFaceAPIDocumentEmbedder,
    HuggingFaceAPITextEmbedder,
)
from haystack_integrations.components.embedders.jina import JinaTextEmbedder
from haystack_integrations.components.embedders.mistral import MistralTextEmbedder
from haystack_integrations.components.embedders.nvidia import NvidiaTextEmbedder
from haystack_integrations.components.rankers.cohere import CohereRanker
from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker
from haystack_integrations.components.rankers.jina import JinaRanker
from haystack_integrations.components.rankers.nvidia import NvidiaRanker

NO_KEY = Secret.from_token("none")


def main(url: str) -> None:
    """Embedders and rankers of each, with their defaults."""
    documents = [Document(content="a"), Document(content="ccc")]
    openai = {"api_key": NO_KEY, "api_base_url": f"{url}/v1", "model": "org/dense"}
    tei = {"api_type": "text_embeddings_inference", "api_params": {"url": f"{url}/tei/org/dense"}}
    for embedder in (
        OpenAITextEmbedder(**openai),
        HuggingFaceAPITextEmbedder(**tei),
        CohereTextEmbedder(model="org/dense", api_key=NO_KEY, api_base_url=url),
        JinaTextEmbedder(model="org/dense", api_key=NO_KEY, base_url=f"{url}/v1/embeddings"),
        MistralTextEmbedder(**openai),
        NvidiaTextEmbedder(model="org/dense", api_key=NO_KEY, api_url=f"{url}/v1"),
    ):
        assert embedder.run("four")["embedding"] == [4.0, 0.0, 0.0], type(embedder)
    for embedder in (OpenAIDocumentEmbedder(**openai), HuggingFaceAPIDocumentEmbedder(**tei)):
        embedded = embedder.run(documents)["documents"]
        assert [each.embedding[0] for each in embedded] == [1.0, 3.0], type(embedder)
    for ranker in (
        HuggingFaceTEIRanker(url=f"{url}/tei/ranker", top_k=1),
        CohereRanker(model="ranker", api_key=NO_KEY, api_base_url=url, top_k=1),
        JinaRanker(model="ranker", api_key=NO_KEY, base_url=f"{url}/v1/rerank", top_k=1),
        NvidiaRanker(model="ranker", api_key=NO_KEY, api_url=f"{url}/v1", top_k=1),
    ):
        ranked = ranker.run("q", documents)["documents"]
        assert [each.content for each in ranked] == ["ccc"], type(ranker)


if __name__ == "__main__":
    main(sys.argv[1])
