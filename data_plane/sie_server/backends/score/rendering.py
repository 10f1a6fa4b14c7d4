"""A chat template is rendered: the program of a process of its own.

*shell* over transformers' own renderer. A template is a program of a model's author, in a language
with loops, powers and texts of any length; `bounded_child` has the bounds. The question is JSON of
the template, its values and the conversations. The answer is JSON of the texts, or of the reason
why there are none.
"""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

__all__ = ["prepare"]

_CHARS_MAX: Final = 1_000_000
"""Of one text: it stands around each pair, and no model reads as much."""
_SHOWN_MAX: Final = 300
"""A stranger's text in a message of ours."""


def prepare() -> Callable[[bytes], bytes]:
    """The function that answers. Only for a process that does nothing else."""
    found = importlib.util.find_spec("transformers")
    if found is None or not found.submodule_search_locations:
        raise ImportError("transformers is not installed")
    folder = Path(found.submodule_search_locations[0])
    # Without what the whole library imports at its start, which takes 1.7 s where this takes 0.5.
    for name, path in (("transformers", folder), ("transformers.utils", folder / "utils")):
        bare = ModuleType(name)
        bare.__path__ = [str(path)]
        sys.modules[name] = bare
    render = importlib.import_module("transformers.utils.chat_template_utils").render_jinja_template

    def answer(question: bytes) -> bytes:
        return json.dumps(_told(render, **json.loads(question))).encode()

    return answer


def _told(
    render: Callable[..., Any], template: str, values: dict[str, Any], conversations: list[Any]
) -> dict[str, Any]:
    try:
        texts: list[str] = render(conversations, chat_template=template, **values)[0]
    # A stranger's program: whatever goes wrong is a reason not to take it.
    except Exception as error:
        return {"reason": (str(error) or type(error).__name__)[:_SHOWN_MAX]}
    if max(map(len, texts)) > _CHARS_MAX:
        return {"reason": f"it makes more than {_CHARS_MAX} characters of a short pair"}
    return {"texts": texts}
