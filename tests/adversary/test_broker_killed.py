"""The broker is killed with jobs in the queue that it had called stored: each is answered.

The work streams do not wait for the disk. What a broker that is killed has forgotten of them is
sent again by the gateways whose clients still wait.
"""

import asyncio
from pathlib import Path

from tests.support.mortal_workers import mortal_workers, texts_in_flight
from tests.support.polling import until_told

COUNT = 64
SOON_S = 30.0
"""Every process connects anew, and an interpreter starts."""


async def test_what_a_killed_broker_forgot_is_sent_again(tmp_path: Path) -> None:
    """All that it had of jobs, also of those too large for a message, and the worker that had them
    in hand is gone as well."""
    async with mortal_workers(tmp_path, 1, gateway={"payload-bytes-max": "4096"}) as cluster:
        [pair] = cluster.pairs
        assert (await cluster.ask("loaded")).status_code == 200
        asking = (await texts_in_flight(cluster, COUNT // 2)).asking
        for number in range(COUNT // 2):
            text = f"{number} " * 3000
            asking[text] = asyncio.create_task(cluster.ask(text))

        async def stored() -> bool:
            return (await cluster.left())[0] == COUNT

        await until_told(stored)
        await pair.kill()
        await cluster.broker.kill()
        for stream in ("WORK_POOL_default", "OBJ_sie_jobs"):
            blocks = list((tmp_path / "nats").rglob(f"{stream}/msgs/*"))
            assert blocks
            for block in blocks:
                block.unlink()
        await cluster.broker.start()
        await pair.start()
        async with asyncio.timeout(SOON_S):
            answers = dict(zip(asking, await asyncio.gather(*asking.values()), strict=True))
        assert [text for text, told in answers.items() if not cluster.right(told, text)] == []
        assert await cluster.counted("sie_gateway_jobs_sent_again_total") >= COUNT
