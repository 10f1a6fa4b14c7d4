"""Addresses that somebody pasted with their password: what is told of them holds none."""

import io
import logging
from pathlib import Path

from tests.support.config_writer import client_of, model, running

from sie_runtime.process.telemetry import configure_logs
from sie_schemas.errors import FixRequest

PASTED = "https://me:hunter2@hub.example/org/m"
SECRET = "hunter2"


def kept_in(folder: Path) -> bytes:
    return b"".join(each.read_bytes() for each in folder.iterdir() if each.is_file())


async def test_no_log_line_error_or_audit_row_has_the_password_of_an_address(
    tmp_path: Path,
) -> None:
    headers = {"x-sie-reason": f"from {PASTED}", "x-sie-actor": "ada"}
    async with running(tmp_path) as plane, client_of(plane) as client:
        made = await client.post("/v1/configs/models", json=model("m"), headers=headers)
        assert made.status_code == 201, made.text
        bad = model("n") | {"pool": PASTED}
        refused = await client.post("/v1/configs/models", json=bad, headers=headers)
        assert refused.status_code == 422 and SECRET not in refused.text
        gone = await client.delete(f"/v1/configs/models/{PASTED}", headers=headers)
        assert gone.status_code == 404 and SECRET not in gone.text
        epoch = made.json()["epoch"]
        for path in (f"entries/{epoch}", "entries", "audit", "models/m/history", "export"):
            told = await client.get(f"/v1/configs/{path}")
            assert told.status_code == 200
            assert SECRET not in told.text, path
            assert path == "export" or "from https://hub.example/org/m" in told.text
    assert SECRET.encode() not in kept_in(tmp_path)

    assert SECRET not in str(FixRequest(f"{PASTED} is no repository").to_wire())
    root, lines = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers, root.level
    try:
        configure_logs(role="config", process_id="1", level="info", stream=lines)
        log = logging.getLogger("sie_config.test")
        log.warning("%s is not reached", PASTED, extra={"url": PASTED})
        try:
            raise OSError(f"cannot open {PASTED}")
        except OSError:
            log.exception("failed")
    finally:
        root.handlers = handlers
        root.setLevel(level)
    assert lines.getvalue().count("https://hub.example/org/m") == 3
    assert SECRET not in lines.getvalue()
