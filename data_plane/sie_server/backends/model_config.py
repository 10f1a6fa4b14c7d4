"""The config of a load: where the weights are, which backend, which tasks.

*types.* Reads the parts of a profile-resolved model document. What does not read is
MODEL_LOAD_FAILED, with the field that is wrong.
"""

from typing import Final

import msgspec
from pydantic import TypeAdapter, ValidationError

from sie_schemas.documents import ProfileDocument, Source, Tasks
from sie_schemas.ipc import Load, LoadAdapter
from sie_server.backends.backend import load_failed

__all__ = ["profile_of", "source_of", "tasks_of", "templates_of"]

_TEMPLATES: Final = {
    "query": "query_template",
    "document": "doc_template",
    "instruction": "default_instruction",
}
_SOURCE: Final[TypeAdapter[Source]] = TypeAdapter(Source)


def source_of(request: Load | LoadAdapter) -> Source:
    """The source of the weights. Raises MODEL_LOAD_FAILED."""
    try:
        return _SOURCE.validate_json(msgspec.json.encode(request.config.get("source")))
    except ValidationError as error:
        raise load_failed(f"the source in the config is not valid: {_first(error)}") from error


def profile_of(request: Load) -> ProfileDocument:
    """The profile that the model is to run with. Raises MODEL_LOAD_FAILED."""
    try:
        return ProfileDocument.model_validate_json(
            msgspec.json.encode(request.config.get("profile"))
        )
    except ValidationError as error:
        raise load_failed(f"the model's profile is not valid: {_first(error)}") from error


def templates_of(profile: ProfileDocument) -> dict[str, str]:
    """The templates that a profile's options have, as the sidecar reads them."""
    found = {name: profile.options.get(option) for name, option in _TEMPLATES.items()}
    return {name: str(text) for name, text in found.items() if text is not None}


def tasks_of(request: Load) -> Tasks:
    """The tasks that the model can do. Raises MODEL_LOAD_FAILED."""
    try:
        return Tasks.model_validate_json(msgspec.json.encode(request.config.get("tasks")))
    except ValidationError as error:
        raise load_failed(f"the model's tasks are not valid: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, problem['loc'])) or 'document'}: {problem['msg']}"
