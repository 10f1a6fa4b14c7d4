"""Frameworks whose embedders and rerankers speak OpenAI's or Cohere's API."""

import asyncio
import sys
from typing import Any

import cohere
import openai
from agno.knowledge.document import Document
from agno.knowledge.embedder.cohere import CohereEmbedder
from agno.knowledge.embedder.openai import OpenAIEmbedder
from agno.knowledge.reranker.cohere import CohereReranker
from mem0.configs.embeddings.base import BaseEmbedderConfig
from mem0.embeddings.openai import OpenAIEmbedding
from pydantic_ai import Embedder
from pydantic_ai.embeddings.cohere import CohereEmbeddingModel
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.providers.cohere import CohereProvider
from pydantic_ai.providers.openai import OpenAIProvider
from semantic_kernel.connectors.ai.open_ai import OpenAITextEmbedding

FOUR = [4.0, 0.0, 0.0]


def main(url: str) -> None:
    """Each with its defaults."""
    base: dict[str, Any] = {"api_key": "none", "base_url": f"{url}/v1"}
    assert OpenAIEmbedder(id="org/dense", dimensions=3, **base).get_embedding("four") == FOUR
    own = cohere.Client("none", base_url=url)
    assert CohereEmbedder(id="org/dense", cohere_client=own).get_embedding("four") == FOUR
    reranker = CohereReranker(model="ranker", cohere_client=own)
    ranked = reranker.rerank("q", [Document(content="a"), Document(content="ccc")])
    assert [each.content for each in ranked] == ["ccc", "a"]
    told = BaseEmbedderConfig(
        model="org/dense", api_key="none", openai_base_url=f"{url}/v1", embedding_dims=3
    )
    assert OpenAIEmbedding(told).embed("four", "add") == FOUR
    asyncio.run(_asynchronous(url))


async def _asynchronous(url: str) -> None:
    client = openai.AsyncOpenAI(api_key="none", base_url=f"{url}/v1")
    kernel = OpenAITextEmbedding(ai_model_id="org/dense", async_client=client)
    assert (await kernel.generate_embeddings(["four"])).tolist() == [FOUR]
    by_openai = Embedder(
        OpenAIEmbeddingModel("org/dense", provider=OpenAIProvider(openai_client=client))
    )
    assert list((await by_openai.embed_query("four")).embeddings[0]) == FOUR
    provider = CohereProvider(cohere_client=cohere.AsyncClientV2("none", base_url=url))
    by_cohere = Embedder(CohereEmbeddingModel("org/dense", provider=provider))
    assert list((await by_cohere.embed_documents(["four"])).embeddings[0]) == FOUR


if __name__ == "__main__":
    main(sys.argv[1])
