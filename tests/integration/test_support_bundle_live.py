"""A support bundle of a live cluster: of use, and without what was planted."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from tests.support.live_cluster import LiveCluster, sie

pytestmark = pytest.mark.integration

PLANTED = {
    "SIE_API_KEY": "planted-api-key-1f9c",
    "SIE_CONFIG_TOKEN": "sie_planted-config-token-77aa01bb",
    "SIE_NATS_PASSWORD": "planted-nats-password",
    "HF_TOKEN": "hf_plantedplantedplantedplanted",
    "AWS_SECRET_ACCESS_KEY": "planted/aws/secret",
}
TEXT = "the patient Erika Mustermann has a planted diagnosis"
LINES = (
    {"msg": "refused", "error": f'File "a.py", line 3, in b\nValueError: {TEXT}'},
    {"msg": f"Authorization: Bearer {PLANTED['SIE_API_KEY']}", "tenant": "erika"},
    {"msg": f"nats://config:{PLANTED['SIE_NATS_PASSWORD']}@host:4222", "body": TEXT},
    {"msg": f"it fetched with {PLANTED['HF_TOKEN']}"},
)


def unpacked(path: Path) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as archive:
        found = {}
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            found[member.name.removeprefix("sie-support/")] = file.read()
    return found


def test_nothing_that_was_planted_leaves_a_live_cluster(
    live_cluster: LiveCluster,
    tmp_path: Path,
) -> None:
    assert live_cluster.encode(TEXT).status_code == 200
    assert live_cluster.encode(TEXT, params={"options": {"lora": TEXT}}).status_code >= 400
    planted = live_cluster.data / "logs" / "gateway.log"
    with planted.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in LINES)
    password = json.loads((live_cluster.data / "operator.json").read_text())["password"]
    target = tmp_path / "bundle.tar.gz"
    wrote = sie(
        *("support-bundle", str(target), "--data", str(live_cluster.data)), environment=PLANTED
    )
    assert wrote.returncode == 0, wrote.stderr
    assert target.stat().st_mode & 0o777 == 0o600
    parts = unpacked(target)
    whole = b"\n".join(parts.values())
    for secret in (*PLANTED.values(), password, TEXT, "Mustermann", "erika"):
        assert secret.encode() not in whole, secret
    # It is of use all the same.
    assert b"nothing is wrong" in parts["verdict.txt"] or b"bad" in parts["verdict.txt"]
    assert {"about.json", "status.json", "config.json", "gateway.json"} <= parts.keys()
    assert b"sie_config_head_epoch" in parts["config-metrics.txt"]
    assert b"listening on port" in parts["logs/gateway.log"]
    assert b'File \\"a.py\\", line 3, in b' in parts["logs/gateway.log"]
    assert b"ValueError" in parts["logs/gateway.log"]
    assert json.loads(parts["about.json"])["variables"]["SIE_API_KEY"] == "[secret]"
    again = sie("support-bundle", str(target), "--data", str(live_cluster.data))
    assert (again.returncode, "is there already" in again.stderr) == (2, True)
