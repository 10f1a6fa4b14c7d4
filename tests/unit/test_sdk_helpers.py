"""The SDK beside its calls: what it costs to import, lists of vectors, scores, long lists."""

import asyncio
import queue
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.served import served_gateway

import sie_sdk
from sie_schemas.errors import FixRequest, Later
from sie_schemas.items import Item
from sie_sdk import ProvisioningError, RequestError, SIEAsyncClient, SIEClient
from sie_sdk.encoding import (
    dense_embedding,
    multivector_embedding,
    normalize_sparse_vector,
    sparse_embedding,
    sparse_embedding_dict,
)
from sie_sdk.leases.keeper import AsyncLeaseKeeper, LeaseKeeper
from sie_sdk.scoring import maxsim, maxsim_batch
from sie_sdk.wire.pieces import cut, older

ROOT = Path(__file__).parents[2]
COST = """
import time, sys
began, before = time.process_time(), set(sys.modules)
import sie_sdk
assert time.process_time() - began < 0.1, time.process_time() - began
loaded = {name.split(".")[0] for name in sys.modules.keys() - before}
assert loaded - sys.stdlib_module_names == {"sie_sdk"}, loaded
from sie_sdk import SIEClient
"""


def test_the_package_is_imported_in_no_time_and_without_what_it_uses_later() -> None:
    subprocess.run([sys.executable, "-c", COST], check=True)


def test_every_name_of_the_package_is_there_and_others_are_not() -> None:
    for name in sie_sdk.__all__:
        assert getattr(sie_sdk, name).__module__.startswith(("sie_sdk", "sie_schemas")), name
    assert set(sie_sdk.__all__) <= set(dir(sie_sdk))
    with pytest.raises(AttributeError, match="no_such"):
        _ = sie_sdk.no_such


def test_beside_the_published_package_it_says_so(tmp_path: Path) -> None:
    package = tmp_path / "sie_sdk"
    (package / "client").mkdir(parents=True)
    (package / "client/_shared.py").touch()
    (package / "__init__.py").write_text((ROOT / "sdk/sie_sdk/__init__.py").read_text())
    run = subprocess.run(
        [sys.executable, "-c", "import sie_sdk"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "sie-cluster and sie-sdk are both installed" in run.stderr


def test_vectors_become_plain_lists() -> None:
    sparse = {"indices": np.array([3, 9], np.int32), "values": np.array([0.5, 1], np.float32)}
    result = {"dense": np.array([1, 2], np.float32), "sparse": sparse}
    assert dense_embedding(result) == [1.0, 2.0]
    assert sparse_embedding(result) == {"indices": [3, 9], "values": [0.5, 1.0]}
    assert sparse_embedding_dict(result) == {3: 0.5, 9: 1.0}
    assert normalize_sparse_vector(sparse) == sparse_embedding(result)
    assert sparse_embedding({}) == {"indices": [], "values": []}
    assert sparse_embedding_dict({"sparse": {"indices": [1]}}) == {}
    assert dense_embedding({}, strict=False) == []
    assert multivector_embedding(np.eye(2)) == [[1.0, 0.0], [0.0, 1.0]]
    assert multivector_embedding([np.ones(1), [2]]) == [[1.0], [2]]
    with pytest.raises(ValueError, match="no dense vector"):
        dense_embedding({})


def test_late_interaction_sums_the_best_of_each_token() -> None:
    query = np.array([[1.0, 0.0], [0.0, 1.0]], np.float16)
    first, second = np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.0, 1.0]])
    assert maxsim(query, [first, second]) == [1.5, 1.0]
    assert maxsim(query, first) == [1.5]
    assert maxsim_batch([query, query[:1]], [first, second]).tolist() == [[1.5, 1.0], [1.0, 0.0]]
    for odd in ([np.ones(2)], [np.ones((2, 3))], [np.ones((0, 2))]):
        with pytest.raises(ValueError, match="documents"):
            maxsim(query, odd)


TEXTS = ["", "a", "bc", "d" * 800_000, "e" * 2_000_001]


@given(
    st.lists(st.text(max_size=5), max_size=50) | st.lists(st.sampled_from(TEXTS), max_size=12),
    st.integers(1, 9),
)
def test_pieces_hold_every_item_once_in_order_and_no_fewer_than_they_may(
    texts: list[str], items_max: int
) -> None:
    items = [Item(text=text) for text in texts]
    pieces = cut(items, items_max=items_max)
    assert [item for piece in pieces for item in piece] == items
    assert all(len(piece) <= items_max for piece in pieces)
    assert len(pieces) == 1 or all(pieces)
    sizes = [[len(item.text or "") for item in piece] for piece in pieces]
    assert all(len(size) < 2 or sum(size) <= 2_000_000 for size in sizes)
    count = -(-len(items) // items_max)
    for size, after in pairwise(sizes):
        is_full = len(size) == -(-len(items) // count)
        assert is_full or sum(size) + after[0] > 2_000_000


@given(
    st.lists(
        st.tuples(st.integers(1, 12), st.sampled_from("ab"), st.sampled_from("xy")),
        min_size=1,
        max_size=8,
        unique_by=lambda told: told[0],
    )
)
def test_pieces_of_another_model_or_adapter_than_the_newest_configuration_has_are_asked_again(
    told: list[tuple[int, str, str]],
) -> None:
    answers = [
        {"request": {"epoch": f"log.{n}", "model_revision": model, "adapter_revision": adapter}}
        for n, model, adapter in told
    ]
    _, *wanted = max(told)
    assert older(answers) == [place for place, (_, *had) in enumerate(told) if had != wanted]


def test_a_text_that_fills_a_piece_is_one_of_its_own() -> None:
    items = [Item(text="a"), Item(text="b" * 3_000_000), Item(text="c")]
    assert [len(piece) for piece in cut(items, items_max=10)] == [1, 1, 1]


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_long_list_comes_back_whole_and_in_order(
    is_async: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["x" * (index % 7) for index in range(500)]
    with served_gateway() as url:
        told: dict[str, Any] = {"piece_items": 33, "pieces_at_once": 4}
        if is_async:
            async with SIEAsyncClient(url, **told) as client:
                results = await client.encode("dense", texts, show_progress=True)
                found = await client.extract("finder", texts)
        else:
            with SIEClient(url, **told) as client:
                results = await asyncio.to_thread(client.encode, "dense", texts, show_progress=True)
                found = await asyncio.to_thread(client.extract, "finder", texts)
    assert [result["dense"][0] for result in results] == [len(text) for text in texts]
    assert [each["entities"][0]["text"] for each in found] == texts
    assert "500/500" in capsys.readouterr().err


async def test_a_piece_that_fails_fails_the_list() -> None:
    with served_gateway() as url:
        with SIEClient(url, piece_items=1) as client, pytest.raises(RequestError):
            client.encode("nobody", ["a", "b", "c"])
        async with SIEAsyncClient(url, piece_items=1) as client:
            with pytest.raises(RequestError):
                await client.encode("nobody", ["a", "b", "c"])


def test_one_client_serves_a_hundred_threads() -> None:
    with served_gateway() as url, SIEClient(url) as client, ThreadPoolExecutor(100) as threads:
        together = threading.Barrier(100)

        def one(size: int) -> float:
            together.wait()
            return float(client.encode("dense", "x" * size)["dense"][0])

        assert list(threads.map(one, range(100))) == list(range(100))


@pytest.mark.parametrize("is_async", [False, True])
async def test_capacity_is_told_waited_for_and_watched(is_async: bool) -> None:
    with served_gateway() as url:
        if is_async:
            async with SIEAsyncClient(url) as client:
                all_of_it = await client.get_capacity()
                ready = await client.wait_for_capacity("CPU", model="dense", timeout_s=60)
                seen = [each async for each in _first(client.watch(interval_s=0.01))]
                with pytest.raises(ProvisioningError):
                    await client.wait_for_capacity("l4", timeout_s=0.02, poll_interval_s=0.01)
        else:
            with SIEClient(url) as client:
                all_of_it = client.get_capacity()
                ready = client.wait_for_capacity("CPU", model="dense", timeout_s=60)
                watching = client.watch(interval_s=0.01)
                seen = [next(watching), next(watching)]
                with pytest.raises(ProvisioningError):
                    client.wait_for_capacity("l4", timeout_s=0.02, poll_interval_s=0.01)
    assert all_of_it["worker_count"] == ready["worker_count"] == 1
    assert ready["workers"][0]["gpu"] == "cpu"
    assert [each["type"] for each in seen] == ["gateway", "gateway"]
    assert seen[0]["timestamp"] < seen[1]["timestamp"]


async def _first(watching: Any) -> Any:
    for _ in range(2):
        yield await anext(watching)


@pytest.mark.parametrize("refusal", [Later("away"), FixRequest("no", code="POOL_NOT_FOUND")])
@pytest.mark.parametrize("kind", [LeaseKeeper, AsyncLeaseKeeper])
@pytest.mark.parametrize("is_given_anew", [False, True])
async def test_a_lease_that_is_forgotten_during_its_own_renewal_is_no_news(
    kind, refusal, is_given_anew, caplog
):
    """And one that is given anew meanwhile is renewed as any other."""
    renewed = [threading.Event(), threading.Event()]

    def renew(name: str) -> None:
        if renewed[0].is_set():
            renewed[1].set()
            return
        keeper.forget(name)
        if is_given_anew:
            keeper.hold(name, ttl_s=0.1)
        renewed[0].set()
        raise refusal

    async def renew_in_the_loop(name: str) -> None:
        renew(name)

    keeper = kind(renew if kind is LeaseKeeper else renew_in_the_loop)
    keeper.hold("eval", ttl_s=0)
    # In the loop's own pool: the asynchronous keeper needs the loop meanwhile.
    assert await asyncio.to_thread(renewed[is_given_anew].wait, 30)
    closed = keeper.close()
    if closed is not None:
        await closed
    assert caplog.messages == []


def test_a_keeper_whose_last_lease_ended_renews_the_next_one() -> None:
    renewed: queue.Queue[str] = queue.Queue()
    keeper = LeaseKeeper(renewed.put)
    for name in ("a", "b", "c"):
        keeper.hold(name, ttl_s=0.05)
        while renewed.get(timeout=10) != name:
            pass
        keeper.forget(name)
        for thread in threading.enumerate():
            if thread.name == "sie-leases":
                thread.join(10)
    keeper.close()


async def test_a_keeper_in_a_task_renews_the_next_lease_after_its_last_ended() -> None:
    renewed: asyncio.Queue[str] = asyncio.Queue()
    keeper = AsyncLeaseKeeper(renewed.put)
    async with asyncio.timeout(20):
        for name in ("a", "b", "c"):
            keeper.hold(name, ttl_s=0.05)
            while await renewed.get() != name:
                pass
            keeper.forget(name)
            await asyncio.gather(
                *(each for each in asyncio.all_tasks() if each.get_name() == "sie-leases")
            )
    await keeper.close()


@pytest.mark.parametrize("rounds", range(8))
def test_a_keeper_that_rests_wakes_for_a_shorter_lease_and_for_its_end(rounds: int) -> None:
    renewed: queue.Queue[str] = queue.Queue()

    def renew(name: str) -> None:
        keeper.forget(name)
        renewed.put(name)

    before = set(threading.enumerate())
    keeper = LeaseKeeper(renew)
    keeper.hold("long", ttl_s=9999)
    keeper.hold("short", ttl_s=0.05)
    assert renewed.get(timeout=20) == "short"
    for closes in (False, True):
        for _ in range(100 * rounds):
            # Its thread has its turn meanwhile, and waits for the long one.
            keeper.forget("none")
        if closes:
            keeper.close()
        else:
            keeper.hold("shorter", ttl_s=0.02)
            assert renewed.get(timeout=20) == "shorter"
    assert not set(threading.enumerate()) - before


async def test_a_keeper_in_a_task_that_rests_wakes_for_a_shorter_lease() -> None:
    renewed: asyncio.Queue[str] = asyncio.Queue()
    keeper = AsyncLeaseKeeper(renewed.put)
    keeper.hold("long", ttl_s=9999)
    # It has begun to wait for the long one.
    await asyncio.sleep(0)
    keeper.hold("short", ttl_s=0.05)
    async with asyncio.timeout(20):
        assert await renewed.get() == "short"
    await keeper.close()
