"""A path with a slip in it is told the route that was meant, by sie-config as by a gateway."""

import httpx
import pytest
from tests.support.config_writer import client_of, running

from sie_runtime.http.near_paths import path_advice

CONFIGS = "/v1/configs"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (f"{CONFIGS}/modles", f"is it {CONFIGS}/models?"),
        ("/v1/config/models/", f"is it {CONFIGS}/models?"),
        (f"{CONFIGS}/modles/org/m", f"is it {CONFIGS}/models/{{key}}?"),
        (f"{CONFIGS}/resolv", f"is it {CONFIGS}/resolve?"),
        (f"{CONFIGS}/replicas/forgt", f"is it {CONFIGS}/replicas/forget?"),
        ("/v1/dead-letter", "is it /v1/dead-letters?"),
        ("/healtz", "is it /healthz?"),
        ("/wp-login.php", "GET /docs tells every route"),
        ("/" + "a/" * 500, "GET /docs tells every route"),
    ],
)
async def test_sie_config_tells_the_nearest_route(tmp_path, path, words):
    async with running(tmp_path) as plane, client_of(plane) as client:
        answer: httpx.Response = await client.get(path)
    detail = answer.json()["detail"]
    assert (answer.status_code, detail["code"]) == (404, "NOT_FOUND")
    assert detail["message"].endswith(f" here: {words}")


def test_no_route_is_near_where_there_is_none():
    assert path_advice("/v1/models", ()) == "GET /docs tells every route"
