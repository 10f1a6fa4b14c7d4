"""litellm as a client of the APIs whose faces a gateway has."""

import sys

import litellm


def main(url: str) -> None:
    """Embeddings and rankings, provider by provider."""
    for provider, base in (
        ("openai", f"{url}/v1"),
        ("hosted_vllm", f"{url}/v1"),
        ("infinity", url),
        ("jina_ai", f"{url}/v1"),
        ("cohere", f"{url}/v2/embed"),
        ("voyage", f"{url}/voyage/v1"),
        ("mistral", f"{url}/v1"),
        ("nvidia_nim", f"{url}/v1"),
        ("xinference", f"{url}/v1"),
    ):
        found = litellm.embedding(
            model=f"{provider}/org/dense", input=["four"], api_base=base, api_key="none"
        )
        assert found.data[0]["embedding"] == [4.0, 0.0, 0.0], provider
    # Without `input_type` it asks the hub what the model is for.
    hub = litellm.embedding(
        model="huggingface/org/dense",
        input=["four", "a"],
        api_base=f"{url}/tei/org/dense",
        api_key="none",
        input_type="feature-extraction",
    )
    assert [round(each["embedding"][0], 3) for each in hub.data] == [1.0, 0.707]
    for provider, base in (
        ("cohere", url),
        ("jina_ai", url),
        ("hosted_vllm", url),
        ("infinity", url),
        ("huggingface", f"{url}/tei/ranker"),
        ("voyage", f"{url}/voyage/v1"),
        ("nvidia_nim/ranking", url),
    ):
        ranked = litellm.rerank(
            model=f"{provider}/ranker",
            query="q",
            documents=["a", "ccc"],
            top_n=1,
            api_base=base,
            api_key="none",
            return_documents=provider != "infinity",
        )
        assert [each["index"] for each in ranked.results] == [1], provider


if __name__ == "__main__":
    main(sys.argv[1])
