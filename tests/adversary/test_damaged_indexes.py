"""Rows beside the entries that say another thing than the entries do: nothing is told by them."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.support.config_writer import client_of, grown_log, model, new_file, running
from tests.support.log_tools import tamper

CONFIGS = "/v1/configs"
MODELS = f"{CONFIGS}/models"
LOG_FILE = "log.sqlite"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE change SET epoch = 5 WHERE entity_key = 'org/model-0'",
        "UPDATE change SET ordinal = 7 WHERE entity_key = 'org/model-0'",
        "UPDATE change SET epoch = 5, ordinal = 7 WHERE entity_key = 'org/model-0'",
        "INSERT INTO change VALUES ('model', 'org/model-9', 5, 0, 'model.put')",
        "INSERT INTO change VALUES ('pool', 'org/model-1', 5, 0, 'pool.put')",
    ],
)
@pytest.mark.parametrize(
    "path",
    [
        f"{MODELS}/org/model-0?at=6",
        f"{MODELS}/org/model-0/history",
        f"{MODELS}/org/model-9?at=6",
        f"{MODELS}?at=5&limit=10",
        f"{CONFIGS}/pools/org/model-1?at=6",
        f"{CONFIGS}/diff?from=1&to=6",
    ],
)
async def test_an_entity_is_told_from_no_entry_that_is_not_of_it(
    tmp_path: Path, statement: str, path: str
) -> None:
    new_file(tmp_path / LOG_FILE, grown_log(4)).close()
    async with running(tmp_path) as plane, client_of(plane) as client:
        right = await client.get(path)
    tamper(tmp_path / LOG_FILE, statement)
    async with running(tmp_path) as plane, client_of(plane) as client:
        answer = await client.get(path)
    said: Any = answer.json()
    if answer.status_code == 200:
        assert said == right.json()
    elif answer.status_code >= 500:
        assert said["detail"]["code"] == "LOG_RECOVERY", said
        assert "sie verify" in said["detail"]["message"]
    else:
        assert (answer.status_code, right.status_code) == (404, 404), said


async def test_a_key_is_answered_with_no_write_but_its_own(tmp_path: Path) -> None:
    key = {"idempotency-key": "k"}
    async with running(tmp_path) as plane, client_of(plane) as client:
        first = await client.post(MODELS, json=model("org/first"), headers=key)
        other = await client.post(MODELS, json=model("org/other"))
        again = await client.post(MODELS, json=model("org/first"), headers=key)
        assert again.json()["epoch"] == first.json()["epoch"]
    tamper(tmp_path / LOG_FILE, f"UPDATE idempotency SET epoch = {other.json()['epoch']}")
    async with running(tmp_path) as plane, client_of(plane) as client:
        answer = await client.post(MODELS, json=model("org/first"), headers=key)
        assert answer.json()["detail"]["code"] == "LOG_RECOVERY", answer.text
        assert "sie verify" in answer.json()["detail"]["message"]


async def test_refused_attempts_that_a_disk_changed_are_told_with_the_cure(tmp_path: Path) -> None:
    async with running(tmp_path) as plane, client_of(plane) as client:
        assert (await client.delete(f"{MODELS}/none")).status_code == 404
        assert len((await client.get(f"{CONFIGS}/audit?outcome=refused")).json()["rows"]) == 1
    with contextlib.closing(sqlite3.connect(tmp_path / "refused.sqlite")) as file, file:
        # As a page that was overwritten with zeros reads: a row without its values.
        [(made,)] = file.execute("SELECT sql FROM sqlite_schema").fetchall()
        file.execute("DROP TABLE refused")
        file.execute(made.replace("NOT NULL", "").replace("STRICT", ""))
        file.execute("INSERT INTO refused (first_us) VALUES (1700000000000001)")
    async with running(tmp_path) as plane, client_of(plane) as client:
        answer = await client.get(f"{CONFIGS}/audit?outcome=refused")
        assert answer.json()["detail"]["code"] == "STORAGE_FAILED", answer.text
        assert "refused.sqlite: nothing of the log is lost" in answer.json()["detail"]["message"]


async def test_a_page_of_keys_that_is_gone_is_damage_and_no_defect(tmp_path: Path) -> None:
    key = {"idempotency-key": "k"}
    async with running(tmp_path) as plane, client_of(plane) as client:
        assert (await client.post(MODELS, json=model("org/m"), headers=key)).status_code == 201
    with contextlib.closing(sqlite3.connect(tmp_path / LOG_FILE)) as file:
        [(page,)] = file.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'idempotency'")
        [(size,)] = file.execute("PRAGMA page_size")
    data = bytearray((tmp_path / LOG_FILE).read_bytes())
    data[(page - 1) * size : page * size] = bytes(size)
    (tmp_path / LOG_FILE).write_bytes(data)
    async with running(tmp_path) as plane, client_of(plane) as client:
        answer = await client.post(MODELS, json=model("org/m"), headers=key)
        assert answer.json()["detail"]["code"] == "LOG_RECOVERY", answer.text
        assert "is damaged" in answer.json()["detail"]["message"]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM change WHERE entity_key = 'org/model-1'",
        "UPDATE change SET entity_key = 'org/model-9' WHERE entity_key = 'org/model-1'",
        "UPDATE change SET kind = 'model.delete' WHERE entity_key = 'org/model-1'",
        "INSERT INTO change VALUES ('model', 'org/model-1', 7, 1, 'model.delete')",
    ],
)
async def test_a_row_that_is_missing_or_too_many_is_found_by_a_look(
    tmp_path: Path, statement: str
) -> None:
    """Nothing but the entries could say so: the past of one entity has no digest of its own."""
    new_file(tmp_path / LOG_FILE, grown_log(4)).close()
    async with running(tmp_path, self_check_s=0.0) as plane, client_of(plane) as client:
        assert (await client.get(f"{CONFIGS}/verify")).json()["sound"] is True
    tamper(tmp_path / LOG_FILE, statement)
    async with running(tmp_path, self_check_s=0.0) as plane, client_of(plane) as client:
        found = (await client.get(f"{CONFIGS}/verify")).json()
        assert found["sound"] is False
        assert "listed wrongly" in found["problem"]
        assert "sie log restore" in found["problem"]
