"""The published SDK: its documented forms. Our own SDK runs the same program."""

import sys

from sie_sdk import RequestError, SIEAsyncClient, SIEClient
from sie_sdk.encoding import dense_embedding
from sie_sdk.types import Item


def main(url: str) -> None:
    """Every call, in the forms that the package documents."""
    with SIEClient(url) as client:
        assert client.encode("org/dense", {"text": "hello"})["dense"].tolist() == [5, 0, 0]
        listed = client.encode("dense", [Item(text="a"), {"text": "bb"}], is_query=True)
        assert [dense_embedding(each)[0] for each in listed] == [1, 2]
        adapted = client.encode("dense", Item(text="a"), options={"lora": "legal"})
        assert adapted["dense"].tolist() == [1, 0, 1]
        documents = [{"text": "a"}, {"text": "bbb", "id": "x"}]
        scores = client.score("ranker", {"text": "q"}, documents)["scores"]
        assert [each["item_id"] for each in scores] == ["x", "item-0"]
        found = client.extract("finder", {"text": "find me"})
        assert found["entities"][0]["text"] == "find me"
        assert {each["name"] for each in client.list_models()} > {"org/dense", "ranker"}
        assert client.get_model("org/dense")["name"] == "org/dense"
        assert client.get_capacity()["worker_count"] == 2
        assert client.wait_for_capacity("cpu", timeout_s=5)["worker_count"] == 2
        try:
            client.get_model("nobody")
        except RequestError as error:
            assert (error.code, error.status_code) == ("MODEL_NOT_FOUND", 404)
        else:
            raise AssertionError("an unknown model was found")


async def main_async(url: str) -> None:
    """The asynchronous client."""
    async with SIEAsyncClient(url) as client:
        result = await client.encode("org/dense", {"text": "hello"})
        assert result["dense"].tolist() == [5, 0, 0]


if __name__ == "__main__":
    import asyncio

    main(sys.argv[1])
    asyncio.run(main_async(sys.argv[1]))
