"""Other users of the machine, who look at what a cluster's processes leave on the disk."""

import stat

import pytest
from tests.support.config_process import config_process
from tests.support.config_writer import model
from tests.support.log_world import nowhere

pytestmark = pytest.mark.integration

MODELS = "/v1/configs/models"


async def test_what_sie_config_keeps_is_for_its_own_user(tmp_path):
    data = tmp_path / "data"
    for life in range(2):
        async with config_process(data, nowhere(), "--checkpoint-entries", "1") as (
            process,
            client,
        ):
            assert (await client.post(MODELS, json=model(f"m{life}"))).status_code == 201
            # An attempt that is refused, and a look into the past, have files of their own.
            assert (await client.post(MODELS, json=[])).status_code == 422
            assert (await client.get("/v1/configs/audit?actor=x&outcome=accepted")).is_success
            process.terminate()
            await process.wait()
        made = [data, *data.rglob("*")]
        assert {path.name for path in made} >= {
            *("log.sqlite", "log.sqlite.lock", "log.sqlite.head", "log.sqlite.checkpoint"),
            *("lookup.sqlite", "refused.sqlite"),
        }
        assert [path for path in made if stat.S_IMODE(path.lstat().st_mode) & 0o077] == []
        for path in made[1:]:
            # As an older release left them.
            path.chmod(0o644)
