"""The demo models and adapters, registered once in a fresh log.

*shell.* Speaks to sie-config as any operator would, with the actor `sie up`. Registers only models
whose package is installed, and never twice in one data folder: a model that was deleted stays
deleted. Writing the same document again changes nothing, so a crash in the middle is made good by
the next start.
"""

import hashlib
import importlib.metadata
import importlib.resources
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec

from sie_catalog.bundles import APART, BUNDLES
from sie_cli.access.operator_access import bearer
from sie_cli.supervisor.let_in import check_let_in, said_code
from sie_schemas.errors import FixRequest, Later, OurFault, Untrusted

__all__ = [
    "ADAPTED_MODEL",
    "adapter_documents",
    "installed_models",
    "manifest_of",
    "put_bundles",
    "register",
]

ADAPTED_MODEL: Final = "sentence-transformers/all-MiniLM-L6-v2"
"""The model that the demo adapters were trained for; also the one that `up` asks first."""
_HEADERS: Final = {"X-SIE-Actor": "sie up", "X-SIE-Reason": "demo models of a fresh log"}
_TIMEOUT_S: Final = 30.0
"""The whole catalog is one write, verified on each side."""


def demo_folder() -> Path:
    """The folder of the demo's documents and weights inside this package."""
    return Path(str(importlib.resources.files("sie_cli"))) / "demo_data"


def installed_models() -> list[dict[str, Any]]:
    """The demo models' documents, without those whose package is not installed."""
    try:
        documents = msgspec.json.decode((demo_folder() / "models.json").read_bytes())
    except FileNotFoundError:
        return []
    return [document for document in documents if _is_installed(document["source"])]


def adapter_documents(model_id: str) -> Iterator[dict[str, Any]]:
    """One document for each demo adapter, pinned by the hashes of its files."""
    for folder in sorted((demo_folder() / "adapters").glob("*/")):
        yield {
            "model_id": model_id,
            "name": folder.name,
            "source": {"type": "path", "path": str(folder), "manifest": manifest_of(folder)},
            "description": f"Demo adapter trained on {folder.name} sentences.",
        }


def manifest_of(folder: Path) -> dict[str, str]:
    """The SHA-256 of every weight and config file of an adapter's folder."""
    files = sorted(path for path in folder.iterdir() if path.suffix in {".json", ".safetensors"})
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


async def register(config_url: str) -> list[str]:
    """Register what is installed; gives the registered model ids.

    Raises `FixRequest` without a token that may, `OurFault`, `Later`, and `Untrusted` while
    the log is in recovery.
    """
    models = installed_models()
    headers = _HEADERS | bearer()
    async with httpx.AsyncClient(base_url=config_url, headers=headers, timeout=_TIMEOUT_S) as http:
        for document in models:
            await _write(http, "POST", "/v1/configs/models", document)
        if any(document["model_id"] == ADAPTED_MODEL for document in models):
            for adapter in adapter_documents(ADAPTED_MODEL):
                path = f"/v1/configs/adapters/{ADAPTED_MODEL}/{quote(adapter['name'])}"
                await _write(http, "PUT", path, adapter)
    return [document["model_id"] for document in models]


async def put_bundles(config_url: str, names: Sequence[str]) -> None:
    """Have the log hold bundles that workers are started for.

    A log of an older release has not every bundle of this one. One that is there stays as it is.
    Raises `FixRequest`, `Later`, and `Untrusted` while the log is in recovery.
    """
    headers = {"X-SIE-Actor": "sie up", "X-SIE-Reason": "workers of the bundle"} | bearer()
    async with httpx.AsyncClient(base_url=config_url, headers=headers, timeout=_TIMEOUT_S) as http:
        for name in names:
            path = f"/v1/configs/bundles/{quote(name, safe='')}"
            try:
                response = await http.get(path)
            except httpx.HTTPError as error:
                raise Later(f"sie-config does not tell {path}: {error}") from error
            check_let_in(response.status_code, response.content, process="sie-config", role="admin")
            if response.status_code != httpx.codes.NOT_FOUND:
                continue
            if name not in BUNDLES:
                raise FixRequest(
                    f"there is no bundle {name}: name {', '.join(APART)}, or register it first: "
                    f"start without `--bundle {name}`, and put it with `sie apply -f FILE`",
                    field="bundle",
                )
            await _write(http, "PUT", path, BUNDLES[name].document)


async def _write(
    http: httpx.AsyncClient, method: str, path: str, document: Mapping[str, Any]
) -> None:
    try:
        response = await http.request(method, path, json=document)
    except httpx.HTTPError as error:
        raise Later(f"sie-config did not take {path}: {error}") from error
    check_let_in(response.status_code, response.content, process="sie-config", role="admin")
    if response.is_error:
        told = f"sie-config refused {path} ({response.status_code}): {response.text}"
        if said_code(response.content) == Untrusted.code:
            raise Untrusted(told)
        # A server's error may pass, a refusal does not.
        raise (Later if response.is_server_error else OurFault)(told)


def _is_installed(source: Mapping[str, Any]) -> bool:
    if source["type"] != "package":
        return True
    try:
        return bool(importlib.metadata.version(source["distribution"]) == source["version"])
    except importlib.metadata.PackageNotFoundError:
        return False
