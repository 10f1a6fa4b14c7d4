"""Images on a real cluster: texts and images in one space, and text that is read from one."""

import base64
import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from PIL import Image
from tests.support.live_cluster import LiveCluster, sie
from tests.support.picture_models import (
    drawn_text,
    encoded,
    pictures,
    reference_vectors,
    save_clip,
)
from tests.support.sameness import assert_same

from sie_cli.local import story
from sie_sdk import Item, SIEAsyncClient, SIEClient

pytestmark = pytest.mark.integration

LINES = ("Invoice 4711", "total 99.50 EUR", "paid in Berlin")
TEXTS = ("the cat sat on the mat", "a red house")


def test_a_folder_is_added_and_a_request_mixes_texts_and_images(
    live_cluster: LiveCluster, tmp_path: Path
) -> None:
    folder = save_clip(tmp_path / "clip")
    added = sie("add", str(folder), "--name", "tiny/clip", "--data", str(live_cluster.data))
    assert added.returncode == 0, added.stderr + added.stdout
    files = pictures()
    wide, turned = files["wide"], files["turned"]
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(wide)
    items: list[Item | str | Mapping[str, object]] = [
        Item(text=TEXTS[0], id="a"),
        Item(image=photo, id="b"),
        {"image": b"\x89PNG\r\n\x1a\n cut", "id": "c"},
        {"image": turned, "id": "d"},
        TEXTS[1],
    ]
    with SIEClient(live_cluster.gateway_url) as client:
        found = client.encode("tiny/clip", items)
        assert client.get_model("tiny/clip")["inputs"] == ["text", "image"]
    texts, images = reference_vectors(folder, TEXTS, [wide, turned], max_length=False)
    assert_same([found[0]["dense"], found[4]["dense"]], texts)
    assert_same([found[1]["dense"], found[3]["dense"]], images)
    assert [each.get("id") for each in found[:4]] == ["a", "b", "c", "d"]
    assert "are no image that is read here" in found[2]["error"]["message"]

    body = {"items": [{"image": base64.b64encode(wide).decode()}]}
    url = f"{live_cluster.gateway_url}/v1/encode/tiny/clip"
    answer = httpx.post(url, json=body, timeout=30).json()
    assert_same(answer["items"][0]["dense"]["values"], images[0])
    bomb = httpx.post(url, json={"items": [{"image": base64.b64encode(_bomb()).decode()}]})
    assert bomb.status_code == 400
    assert "at most 50000000 are decoded" in bomb.json()["detail"]["message"]


def _bomb() -> bytes:
    """A PNG whose header claims far more than its few bytes hold."""
    data = bytearray(encoded(Image.new("1", (8, 8))))
    data[16:24] = (50_000).to_bytes(4, "big") * 2

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


async def test_the_demo_finds_entities_and_reads_a_picture(live_cluster: LiveCluster) -> None:
    url = live_cluster.gateway_url
    async with SIEAsyncClient(url) as client, httpx.AsyncClient(timeout=60) as http:
        stage = story.Stage(
            data=live_cluster.data,
            gateway_url=url,
            config_url=live_cluster.config_url,
            client=client,
            http=http,
        )
        assert (await story.extract(stage))["locations"] == ["Berlin"]
        # The package of its models is there: the tests bring it.
        assert len((await story.read_picture(stage))["lines"]) == 3


def test_text_is_read_from_an_image(live_cluster: LiveCluster, tmp_path: Path) -> None:
    told = sie("get", "bundle", "default", "-o", "json", "--data", str(live_cluster.data))
    assert told.returncode == 0, told.stderr
    bundle = json.loads(told.stdout)
    document = bundle.get("document", bundle)
    document["backends"] = [*document["backends"], "ocr"]
    model = {
        "kind": "model",
        "model_id": "ocr",
        "source": {
            "type": "package",
            "package": "rapidocr",
            "distribution": "rapidocr",
            "version": "3.10.0",
            "path": "models",
        },
        "tasks": {"extract": {}},
        "profiles": {"default": {"backend": "ocr"}},
    }
    config = tmp_path / "config"
    config.mkdir()
    (config / "ocr.json").write_text(json.dumps(model))
    (config / "bundle.json").write_text(json.dumps({**document, "kind": "bundle"}))
    applied = sie("apply", "-f", str(config), "--data", str(live_cluster.data))
    assert applied.returncode == 0, applied.stderr + applied.stdout
    page = drawn_text(*LINES)
    with SIEClient(live_cluster.gateway_url) as client:
        found = client.extract("ocr", Item(image=page))
    lines = [line["text"].replace(" ", "") for line in found["entities"]]
    assert lines == [line.replace(" ", "") for line in LINES]
    assert all(len(line["bbox"]) == 4 for line in found["entities"])
