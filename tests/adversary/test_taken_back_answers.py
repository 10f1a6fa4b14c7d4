"""Answers that go on and on, after the token that asked for them was taken back."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from tests.support.config_writer import model
from tests.support.console_world import served_console
from tests.support.tokens import bearer, tokens_file

CONFIGS = "/v1/configs"


def tokens(folder: Path, *names: str) -> Path:
    return tokens_file(folder / "tokens.json", **dict.fromkeys(names, ("admin",)))


def test_the_feed_ends_with_its_token_and_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tokens(tmp_path, "boss", "other")
    caplog.set_level("INFO")
    with (
        served_console(tmp_path / "log", path) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        with client.stream("GET", f"{CONFIGS}/events", headers=bearer("boss")) as feed:
            lines = feed.iter_lines()
            assert next(lines).startswith("id: ")
            tokens(tmp_path, "other")
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
                # Twice a second something is told: the next one is not.
                list(lines)
        with client.stream("GET", f"{CONFIGS}/events", headers=bearer("other")) as feed:
            told = client.post(f"{CONFIGS}/models", json=model("org/m"), headers=bearer("other"))
            assert told.status_code == 201
            assert next(line for line in feed.iter_lines() if '"org/m"' in line)
        assert client.get(f"{CONFIGS}/events", headers=bearer("boss")).status_code == 401
    said = [each.getMessage() for each in caplog.records if "was cut off" in each.getMessage()]
    assert said == [f"boss at {CONFIGS}/events was cut off: its token was taken back"]
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []


def test_one_token_does_not_take_the_feed_from_all_others(tmp_path: Path) -> None:
    path = tokens(tmp_path, "boss", "other")
    with (
        served_console(tmp_path / "log", path) as url,
        httpx.Client(base_url=url, timeout=60) as client,
        ExitStack() as held,
    ):

        def begun(name: str) -> Iterator[str]:
            asked = client.stream("GET", f"{CONFIGS}/events", headers=bearer(name))
            lines = held.enter_context(asked).iter_lines()
            assert next(lines).startswith("id: "), "it is counted by now"
            return lines

        feeds = [begun("boss") for _ in range(16)]
        with client.stream("GET", f"{CONFIGS}/events", headers=bearer("boss")) as refused:
            assert refused.status_code == 503
        feeds.append(begun("other"))
        assert all(next(lines) for lines in feeds)


def test_a_write_whose_token_was_taken_back_while_its_body_came_is_not_made(
    tmp_path: Path,
) -> None:
    path = tokens(tmp_path, "boss", "other")
    document = json.dumps(model("org/m")).encode()

    def slowly() -> Iterator[bytes]:
        yield document[:10]
        # As long as it takes for the first part to be there.
        assert client.get(f"{CONFIGS}/models", headers=bearer("boss")).status_code == 200
        tokens(tmp_path, "other")
        yield document[10:]

    with (
        served_console(tmp_path / "log", path) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        headers = {"content-type": "application/json"} | bearer("boss")
        answer = httpx.post(f"{url}{CONFIGS}/models", content=slowly(), headers=headers)
        assert answer.status_code == 401, answer.text
        models = client.get(f"{CONFIGS}/models", headers=bearer("other")).json()["models"]
        assert "org/m" not in [each["model_id"] for each in models]
