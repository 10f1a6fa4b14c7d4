"""A chat template of pairs as a template with places.

*shell* over one process, which renders it within bounds (`rendering`). The places are found by
rendering marks, and believed only where other texts, with white space and braces, come out as the
places say. A template that changes what it is given is refused.
"""

import json
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
from sie_server.bounded_child import Bounds, NotAnswered, answered

__all__ = ["NotRendered", "chat_form", "rendered", "takes_texts"]

# Letters alone: whatever trims or escapes texts leaves these as they are, and they are found again.
_MARKS: Final = {INSTRUCTION: "QzInstructionQz", QUERY: "QzQueryQz", DOCUMENT: "QzDocumentQz"}
_TRIALS: Final = (
    {INSTRUCTION: "a", QUERY: "b", DOCUMENT: "c"},
    {INSTRUCTION: " {x}\n", QUERY: "\n <b> & 'q' ", DOCUMENT: ' "d" {query}\n\n'},
)
_WORDS_OF_PARTS: Final = ("content[0]", ".type", "'type'", '"type"', "message.content[")
"""Those of a template by which the reference takes it for one that reads contents in parts."""
_PROGRAM: Final = Path(__file__).with_name("rendering.py")
_BOUNDS: Final = Bounds(
    # A template, its syntax tree and what it renders take a few MiB.
    memory_bytes=256 * 1024**2,
    # Known templates take milliseconds.
    cpu_s=1,
    # The texts of a few pairs, each as long as one may be, and twelve bytes a character at most.
    written_bytes=128 * 1024**2,
    # On a machine that is busy; processor time has a bound of its own.
    time_s=60.0,
)
_CURE: Final = "set the profile's pair_template, yes_token and no_token"


class NotRendered(Exception):
    """The reason is the message."""


def rendered(
    template: str, values: Mapping[str, Any], conversations: Sequence[Sequence[Mapping[str, Any]]]
) -> list[str]:
    """The text of each conversation. Raises `NotRendered`."""
    asked = {"template": template, "values": values, "conversations": conversations}
    try:
        found = json.loads(answered(_PROGRAM, json.dumps(asked, default=str).encode(), _BOUNDS))
    except NotAnswered as error:
        raise NotRendered(str(error)) from error
    if "reason" in found:
        raise NotRendered(str(found["reason"]))
    return [str(text) for text in found["texts"]]


def chat_form(folder: Path, layout: ScoreLayout) -> PairForm:
    """The form of a folder's pairs. Raises MODEL_LOAD_FAILED."""
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    pair, instructed = (QUERY, DOCUMENT), (INSTRUCTION, QUERY, DOCUMENT)
    trials = (_MARKS, *_TRIALS)
    # All at once: a process takes half a second to start.
    texts = _rendered(
        tokenizer,
        layout,
        [{name: trial[name] for name in names} for names in (pair, instructed) for trial in trials],
    )
    # Each by itself: a template may trim where it has an instruction, or only where it has none.
    bare, trims_bare = _form(texts[: len(trials)], pair, required=True)
    parts, trims = _form(texts[len(trials) :], instructed, required=False)
    return PairForm(
        parts=(PairPart(parts),),
        bare=(PairPart(bare),),
        bounded=(0, 1),
        cut=0,
        instruction=layout.prompt,
        cuts_start=layout.text.truncation_side == "left",
        restores_suffix=True,
        trims=trims,
        trims_bare=trims_bare,
    )


def takes_texts(tokenizer: PreTrainedTokenizerBase, layout: ScoreLayout) -> bool:
    """True if the template is given contents as texts, False if as lists of parts."""
    if layout.message_format != "auto":
        return layout.message_format == "flat"
    template = tokenizer.chat_template
    # Of several templates by name the reference looks at none.
    return isinstance(template, str) and not any(word in template for word in _WORDS_OF_PARTS)


def _form(texts: Sequence[str], names: tuple[str, ...], *, required: bool) -> tuple[str, bool]:
    """The template with places, and whether it trims its texts."""
    source, *wanted = texts
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
    flat = takes_texts(tokenizer, layout)

    def content(text: str) -> Any:
        return text if flat else [{"type": "text", "text": text}]

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
