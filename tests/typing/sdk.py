"""The SDK as a user's type checker sees it. Compiled, never run."""

from typing import assert_type

import numpy as np
from numpy.typing import NDArray

from sie_schemas.api.writes import DryRun, EntityWritten, GroupWritten
from sie_sdk import Item, SIEAsyncClient, SIEAsyncConfigClient, SIEClient, SIEConfigClient, Terms
from sie_sdk.types import EncodeResult, ExtractResult, PoolResponse, ScoreResult


def synchronous(client: SIEClient) -> NDArray[np.float32]:
    """One in gives one out; a list gives a list."""
    assert_type(client.encode("m", Item(text="a")), EncodeResult)
    assert_type(client.encode("m", "a", options={"lora": "legal"}), EncodeResult)
    assert_type(client.encode("m", [Item(text="a")]), list[EncodeResult])
    assert_type(client.encode("m", ["a", "b"], gpu="pool/l4"), list[EncodeResult])
    assert_type(client.encode("m", (Item(text="a"), "b")), list[EncodeResult])
    assert_type(client.encode("m", {"text": "a"}), EncodeResult)
    assert_type(client.encode("m", [{"text": "a"}, "b"]), list[EncodeResult])
    assert_type(client.encode("m", (text for text in "ab")), list[EncodeResult])
    assert_type(client.score("m", "q", ["a"], wait_for_capacity=False), ScoreResult)
    assert_type(client.extract("m", "a", labels=["PERSON"]), ExtractResult)
    assert_type(client.extract("m", ["a"]), list[ExtractResult])
    assert_type(client.extract("m", {"text": "a"}), ExtractResult)
    assert_type(client.score("m", {"text": "q"}, [{"text": "a", "id": "1"}]), ScoreResult)
    assert_type(client.create_pool("p", {"l4": 1}, gpu_caps={"l4": 2}), PoolResponse)
    assert_type(client.get_pool("p"), PoolResponse | None)
    assert_type(client.delete_pool("p"), bool)
    return client.encode("m", "a")["dense"]


async def asynchronous(client: SIEAsyncClient) -> str:
    """The same, awaited."""
    assert_type(await client.encode("m", "a", output_types=["dense"]), EncodeResult)
    assert_type(await client.encode("m", ["a"]), list[EncodeResult])
    assert_type(await client.extract("m", Item(text="a")), ExtractResult)
    ranking = await client.score("m", Item(text="q"), [Item(text="a", id="1")])
    return ranking["scores"][0]["item_id"] + ranking["request"]["epoch"]


def configured(client: SIEConfigClient) -> str:
    """A write is answered by one of two forms, and a key tells which."""
    answer = client.put("pool", "p", {"name": "p"}, Terms(if_absent=True))
    assert_type(answer, EntityWritten | DryRun)
    assert_type(answer["epoch"], int)
    if "human" in answer:
        assert_type(answer, DryRun)
        return "; ".join(answer["human"])
    assert_type(answer, EntityWritten)
    return answer["etag"]


async def reverted(client: SIEAsyncConfigClient) -> GroupWritten | DryRun:
    """The same of an entry for several."""
    return await client.revert(3, entities=[("pool", "p")])
