"""A chat template of pairs as a template with places.

*shell* over transformers, which renders it, in a copy of this process (`rendering`). The places are
found by rendering marks, and believed only where other texts, with white space and braces, come out
as the places say. A template that changes what it is given is refused.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from sie_core.pair_templates import DOCUMENT, QUERY, read_part
from sie_core.templates import INSTRUCTION
from sie_layouts.score import ScoreLayout
from sie_schemas.errors import FixRequest
from sie_schemas.ipc import PairForm, PairPart
from sie_server.backends.backend import load_failed
from sie_server.backends.score.rendering import NotRendered, rendered

__all__ = ["chat_form"]

_MARKS: Final = {INSTRUCTION: "QzInstructionQz", QUERY: "QzQueryQz", DOCUMENT: "QzDocumentQz"}
_TRIALS: Final = (
    {INSTRUCTION: "a", QUERY: "b", DOCUMENT: "c"},
    {INSTRUCTION: " {x}\n", QUERY: "\n <b> & 'q' ", DOCUMENT: ' "d" {query}\n\n'},
)
_CURE: Final = "set the profile's pair_template, yes_token and no_token"


def chat_form(folder: Path, layout: ScoreLayout) -> PairForm:
    """The form of a folder's pairs. Raises MODEL_LOAD_FAILED."""
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    bare = _form(tokenizer, layout, (QUERY, DOCUMENT), required=True)
    parts = _form(tokenizer, layout, (INSTRUCTION, QUERY, DOCUMENT), required=False)
    trims = bare[1]
    return PairForm(
        parts=(PairPart(parts[0]),),
        bare=(PairPart(bare[0]),),
        bounded=(0, 1),
        cut=0,
        instruction=layout.prompt,
        restores_suffix=True,
        trims=trims,
    )


def _form(
    tokenizer: PreTrainedTokenizerBase,
    layout: ScoreLayout,
    names: tuple[str, ...],
    *,
    required: bool,
) -> tuple[str, bool]:
    """The template with places, and whether it trims its texts."""
    given = [{name: trial[name] for name in names} for trial in (_MARKS, *_TRIALS)]
    source, *wanted = _rendered(tokenizer, layout, given)
    for name in names:
        if source.count(_MARKS[name]) != 1:
            if name == INSTRUCTION and not required:
                continue  # a template without a place for it: an instruction is then refused
            raise load_failed(
                f"the chat template of the model has no place for the {name} of a pair; {_CURE}"
            )
        source = source.replace(_MARKS[name], "{" + name + "}")
    try:
        template = read_part(source)
    except FixRequest as error:
        raise load_failed(f"the chat template of the model: {error.message}; {_CURE}") from error
    for trims in (False, True):
        trials = [
            {
                name: text.strip() if trims and name != INSTRUCTION else text
                for name, text in trial.items()
            }
            for trial in _TRIALS
        ]
        if [template.filled(trial) for trial in trials] == wanted:
            return source, trims
    raise load_failed(f"the chat template of the model changes the texts of a pair; {_CURE}")


def _rendered(
    tokenizer: PreTrainedTokenizerBase, layout: ScoreLayout, pairs: Sequence[Mapping[str, str]]
) -> list[str]:
    def content(text: str) -> Any:
        return text if layout.message_format == "flat" else [{"type": "text", "text": text}]

    roles = {INSTRUCTION: "system", QUERY: "query", DOCUMENT: "document"}
    values = {**tokenizer.special_tokens_map, **layout.template_options}
    named = values.pop("chat_template", None)
    try:
        template = tokenizer.get_chat_template(named)
    except (ValueError, TypeError, KeyError) as error:
        raise _refused(str(error)) from error
    conversations = [
        [{"role": roles[name], "content": content(text)} for name, text in texts.items()]
        for texts in pairs
    ]
    try:
        return rendered(template, values, conversations)
    except NotRendered as error:
        raise _refused(str(error)) from error


def _refused(reason: str) -> Exception:
    return load_failed(f"the chat template of the model takes no pair: {reason}; {_CURE}")
