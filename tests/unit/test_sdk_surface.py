"""Code for the published SDK finds on ours what it names: the published surface, kept, beside ours.

Its other modules are of its own wire and service, of files that it sends, and of operations that
are none here: `storage`, `cache`, `bundle_utils`, `queue_types`, `redaction`, `images`, `audio`,
`documents`, `files` and `jobs`. Its integrations import none of them.

`tests/data/sdk_surface/sie_sdk-0.10.1.json` was printed by `tests/support/sdk_surface.py`, in an
environment that had `sie-sdk` 0.10.1.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.sdk_surface import MODULES, surface

_GOLDEN: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data/sdk_surface/sie_sdk-0.10.1.json").read_text()
)
_OURS = surface()
_ELSEWHERE = {
    "generation": (
        *("Chat", "Generat", "Response", "JsonSchemaGrammar", "RegexGrammar", "EbnfGrammar"),
        *("FinishReason", "PromptTokensDetails", "ScoreInputTokensDetails", "generate", "chat"),
    ),
    "the managed service": (
        *("AppliedRate", "Batch", "Connect", "CostEstimate", "File", "Job", "RateIdentity"),
        *("Recommend", "build_job_body", "connection_name", "resolve_upload"),
        *("batches", "connections", "estimate", "files", "jobs", "recommend", "responses"),
        *("DECLARED_USAGE_FIELDS", "SETTLED_CHARGE_FIELDS", "TERMINAL_UNIT_FIELDS"),
    ),
    "a single server's status, which workers here do not serve": (
        *("AdaptiveBatching", "GPUMetrics", "ModelConfig", "ModelStatus", "Numerical"),
        *("ServerInfo", "WorkerStatusMessage", "PendingGeneration", "ModelRouting"),
    ),
    "a helper of its own": ("np_to_dtype", "logger"),
}
"""The beginnings of names that are of operations which are none here."""


def _is_elsewhere(name: str) -> bool:
    plain = name.removeprefix("stream_")
    return any(plain.startswith(starts) for starts in _ELSEWHERE.values())


def _pairs(kind: str) -> list[Any]:
    return list(_of_kind(kind))


def _of_kind(kind: str) -> Iterator[Any]:
    for module, names in _GOLDEN.items():
        for name, told in names.items():
            if told["kind"] == kind and not _is_elsewhere(name):
                yield pytest.param(module, name, told, id=f"{module}.{name}")


@pytest.mark.parametrize("module", MODULES)
def test_every_name_of_the_published_sdk_can_be_imported(module):
    missing = [
        name for name in _GOLDEN[module] if name not in _OURS[module] and not _is_elsewhere(name)
    ]
    assert missing == []


@pytest.mark.parametrize(("module", "name", "told"), _pairs("error"))
def test_an_error_is_caught_by_its_names_and_has_their_attributes(module, name, told):
    ours = _OURS[module][name]
    bases = {_name(base) for base in ours["bases"]}
    assert {_name(base) for base in told["bases"]} <= bases
    assert set(told["attributes"]) <= set(ours["attributes"])


@pytest.mark.parametrize(("module", "name", "told"), _pairs("mapping"))
def test_a_result_has_the_published_keys(module, name, told):
    ours = _OURS[module][name]
    known = ours.get("keys") or ours["properties"]
    assert set(told["keys"]) - set(known) - _NOT_HERE.get(name, set()) == set()


@pytest.mark.parametrize(("module", "name", "told"), _pairs("function"))
def test_a_function_is_called_in_the_published_way(module, name, told):
    _require_called_alike(told["parameters"], _OURS[module][name]["parameters"], name)


@pytest.mark.parametrize(("module", "name", "told"), _pairs("class"))
def test_a_class_has_the_published_methods_called_in_the_published_way(module, name, told):
    ours = _OURS[module][name]
    assert [each for each in told["properties"] if not _has(ours, each)] == []
    for method, parameters in told["methods"].items():
        if not _is_elsewhere(method):
            assert method in ours["methods"], method
            _require_called_alike(parameters, ours["methods"][method], f"{name}.{method}")


_OF_A_SERVICE = {
    *("credits_debited", "rate_book_version", "served_by", "upstream", "fallback_reason"),
    *("fallback_error", "execution_binding_sha256", "execution_identity_sha256"),
    *("runtime_instance_id", "credits_charged"),
}
_NOT_HERE: dict[str, set[str]] = {
    "Item": {"multivector"},
    "ModelInfo": {"routing", "pending_generation"},
    "WorkerInfo": {"bundle_config_hash", "numerical_process_inventory"},
    "RequestMetadata": _OF_A_SERVICE,
    "RequestUsage": {
        *_OF_A_SERVICE,
        *("audio_ms", "content_input_tokens", "images", "output_tokens", "pages", "pairs"),
    },
    "ScoreUsage": {"images", "input_tokens_details"},
    "ModelCapabilities": {"code", "grammar", "guard", "profile_lora_adapters", "sql", "tools"},
    "ProfileInfo": {
        *_OF_A_SERVICE,
        *("identity", "remote_contract_sha256", "remote_execution_sha256"),
    },
}
"""Keys that nothing here has."""


def _name(base: str) -> str:
    return {"FixRequest": "RequestError", "OurFault": "ServerError"}.get(base, base)


def _has(ours: dict[str, Any], name: str) -> bool:
    # An attribute of an instance is read as a property is.
    return name in ours["properties"] or name == "base_url" or _is_elsewhere(name)


def _require_called_alike(
    published: list[dict[str, Any]], ours: list[dict[str, Any]], name: str
) -> None:
    found = {each["name"]: each for each in ours}
    for place, each in enumerate(published):
        mine = found.get(each["name"])
        assert mine is not None, f"{name} takes no {each['name']}"
        if each["by_place"]:
            assert ours[place]["name"] == each["name"], f"{name}: {each['name']} has another place"
        if each["default"]:
            assert mine["default"], f"{name}: {each['name']} may not be left out"
        if each["default"] == "None":
            assert mine["takes_none"], f"{name}: {each['name']} may not be None"
        elif each["default"] and mine["default"] not in ("unsaid", "None"):
            assert mine["default"] == each["default"], f"{name}: {each['name']}"
