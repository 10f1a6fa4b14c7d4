"""The pools of a new log are those of the workers that are started with it."""

import pytest
from tests.support.config_writer import client_of, running
from tests.support.role_settings import read_settings

from sie_catalog.first_pools import first_pools
from sie_config.writer.seed import SEED, seed
from sie_runtime.settings import SettingsError


async def test_a_new_log_has_the_pools_that_were_said_and_a_later_start_adds_none(tmp_path):
    pools = ("default=cpu+l4", "night=cpu")
    async with running(tmp_path, pools=pools) as plane, client_of(plane) as client:
        found = (await client.get("/v1/configs/pools/default")).json()
        assert found["document"]["machine_profiles"] == ["cpu", "l4"]
        assert (await client.get("/v1/configs/pools/night")).is_success
    async with running(tmp_path, pools=("other=cpu",)) as plane, client_of(plane) as client:
        assert (await client.get("/v1/configs/pools/other")).status_code == 404


def test_without_a_word_a_new_log_has_one_pool_on_the_processor():
    assert seed({"default": ("cpu",)}) == SEED


@pytest.mark.parametrize(
    "text", ["", "default", "default=", "=cpu", "default=cpu+", "Default=cpu", "a=b=c", "a=cpu+cpu"]
)
def test_what_names_no_pool_stops_the_start(text):
    with pytest.raises(ValueError, match="pool"):
        first_pools([text])


def test_a_pool_is_named_once():
    with pytest.raises(ValueError, match="twice"):
        first_pools(["default=cpu", "default=l4"])
    with pytest.raises(SettingsError, match="no pool"):
        read_settings("config", {"SIE_CONFIG_DATA_DIR": "/x", "SIE_CONFIG_POOLS": "default:cpu"})
