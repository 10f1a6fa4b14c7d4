"""Images at the gateway: in the forms that clients send them, and for models that take them."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
from tests.support.gateway_world import World, gateway_world, model, resolver_of

from sie_schemas.items import Item, Media
from sie_schemas.jobs import Job

DATA = b"\x89PNG\r\n\x1a\n and more"
TEXT = base64.b64encode(DATA).decode()
PROFILES = {"default": {"backend": "image-text"}}


def _resolver() -> Any:
    return resolver_of(
        [
            model("org/dense", {"encode": {}}),
            model("ranker", {"score": {}}),
            model("clip", {"encode": {}}, profiles=PROFILES),
            ("bundle", "default", {"name": "default", "backends": ["echo", "image-text"]}),
            ("pool", "default", {"name": "default", "machine_profiles": ["cpu"]}),
        ],
        epoch=7,
    )


@asynccontextmanager
async def _world() -> AsyncIterator[tuple[World, httpx.AsyncClient]]:
    async with gateway_world() as world:
        world.resolver = _resolver()
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            yield world, client


async def _published(world: World, client: httpx.AsyncClient, item: Any) -> Item:
    """The item of the job that a request becomes."""
    seen: list[Job] = []
    answer = world.echo.answer

    def kept(job: Job) -> Any:
        seen.append(job)
        return answer(job)

    world.echo.answer = kept
    response = await client.post("/v1/encode/clip", json={"items": [item]})
    assert response.status_code == 200, response.text
    return seen[0].items[0]


@pytest.mark.parametrize(
    "item",
    [
        {"image": TEXT},
        {"image": {"data": TEXT}},
        {"images": [{"data": TEXT}]},
    ],
)
async def test_an_image_in_json_is_its_bytes_on_the_queue(item: Any) -> None:
    async with _world() as (world, client):
        assert await _published(world, client, item) == Item(images=(Media(DATA),))


async def test_a_data_url_says_the_format() -> None:
    async with _world() as (world, client):
        item = {"id": "a", "image": f"data:image/PNG;base64,{TEXT}"}
        found = await _published(world, client, item)
    assert found == Item(id="a", images=(Media(DATA, "png"),))


async def test_a_published_client_s_message_pack_is_taken() -> None:
    body = {"items": [{"id": "a", "images": [{"data": DATA, "format": "jpeg"}]}]}
    async with _world() as (_, client):
        response = await client.post(
            "/v1/encode/clip",
            content=msgspec.msgpack.encode(body),
            headers={"content-type": "application/msgpack"},
        )
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("path", "item", "field", "said"),
    [
        ("encode/org/dense", {"image": TEXT}, "images", "takes no images; it takes texts"),
        ("encode/clip", {"image": "https://a.b/c.png"}, "image", "is an address, and none is"),
        ("encode/clip", {"image": "file:///etc/passwd"}, "image", "is an address, and none is"),
        ("encode/clip", {"image": "not base64!"}, "image", "base64 does not read"),
        ("encode/clip", {"image": "data:image/png,abc"}, "image", "the data URL is not base64"),
        ("encode/clip", {"image": ""}, "images", "[0].data is empty"),
        ("encode/clip", {"text": "a", "image": TEXT}, "images", "an item is a text or an image"),
        ("encode/clip", {"images": [{"data": TEXT}] * 2}, "images", "send an item for each"),
        ("encode/clip", {"image": TEXT, "images": [{"data": TEXT}]}, "image", "one of the two"),
        ("encode/clip", {"audio": {"data": TEXT}}, "audio", "no model of this cluster takes it"),
        ("encode/clip", {"imge": TEXT}, "imge", "did you mean 'image'"),
    ],
)
async def test_what_no_model_can_take_is_refused_by_its_field(
    path: str, item: Any, field: str, said: str
) -> None:
    async with _world() as (_, client):
        response = await client.post(f"/v1/{path}", json={"items": [{"text": "a"}, item]})
    assert response.status_code == 400, response.text
    error = response.json()["detail"]
    assert said in error["message"]
    assert f"$.items[1].{field}" in error["message"]


@pytest.mark.parametrize("part", ["query", "items"])
async def test_a_score_takes_no_images(part: str) -> None:
    body: dict[str, Any] = {"query": {"text": "a"}, "items": [{"text": "b"}]}
    image = {"image": TEXT}
    body[part] = image if part == "query" else [image]
    async with _world() as (_, client):
        response = await client.post("/v1/score/ranker", json=body)
    assert response.status_code == 400
    assert "image" in response.json()["detail"]["message"]


async def test_a_model_says_what_it_takes() -> None:
    async with _world() as (_, client):
        of_both = (await client.get("/v1/models/clip")).json()
        of_texts = (await client.get("/v1/models/ranker")).json()
    assert (of_both["inputs"], of_texts["inputs"]) == (["text", "image"], ["text"])
