"""OpenAI's own client, synchronous and asynchronous."""

import asyncio
import sys

import openai


def main(url: str) -> None:
    """Embeddings, models, errors."""
    client = openai.OpenAI(api_key="none", base_url=f"{url}/v1", max_retries=0)
    usual = client.embeddings.create(model="dense", input=["a", "four"], dimensions=3)
    assert [each.embedding for each in usual.data] == [[1.0, 0.0, 0.0], [4.0, 1.0, 0.0]]
    floats = client.embeddings.create(model="dense", input="a", encoding_format="float")
    assert floats.data[0].embedding == [1.0, 0.0, 0.0]
    assert "org/dense" in [each.id for each in client.models.list()]
    try:
        client.models.retrieve("nobody")
    except openai.NotFoundError as error:
        assert error.code == "model_not_found"
        assert "nobody" in error.message
    else:
        raise AssertionError("an unknown model was found")


async def main_async(url: str) -> None:
    """The asynchronous client."""
    async with openai.AsyncOpenAI(api_key="none", base_url=f"{url}/v1") as client:
        found = await client.embeddings.create(model="dense", input="a")
    assert found.data[0].embedding == [1.0, 0.0, 0.0]


if __name__ == "__main__":
    main(sys.argv[1])
    asyncio.run(main_async(sys.argv[1]))
