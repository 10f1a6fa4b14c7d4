"""The layout of a model that scores pairs, as its folder states it.

*pure.* Read in the places where sentence-transformers' CrossEncoder reads, with the same
precedence. A folder without `modules.json`, or of another type of model, counts only as
transformers' own model; its `config_sentence_transformers.json` says nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from sie_layouts.architectures.heads import require_head
from sie_layouts.architectures.own_architectures import require_own_architecture
from sie_layouts.architectures.published import published_form
from sie_layouts.facts import Fact, Files, Reading, Refusal
from sie_layouts.inputs.texts import chat_template, sentence_table, text_layout
from sie_layouts.inputs.tokenizer_classes import require_types_known
from sie_layouts.inputs.transformer import KNOWN_SETTINGS, LOADING_ONLY
from sie_layouts.inputs.vocabularies import TOKENIZER_FILE, tokens_of
from sie_layouts.modules import module_name
from sie_layouts.reader import Reader, joined
from sie_layouts.routes import MODULES_FILE, listed_modules
from sie_layouts.sentence import SETTINGS_FILE
from sie_layouts.steps import TextLayout

__all__ = ["ACTIVATIONS", "USUAL_WORDS", "LogitStep", "ScoreLayout", "read_score", "without_words"]

ACTIVATIONS: Final = frozenset(
    {
        "Hardsigmoid", "Identity", "LogSigmoid", "LogSoftmax", "ReLU", "Sigmoid", "Softmax",
        "Softplus", "Tanh",
    }
)  # fmt: skip
"""Classes of `torch.nn` that a cross-encoder may name, and that are done here."""
USUAL_WORDS: Final = ("yes", "no")
"""The tokens whose logits judge a pair, where no file names others."""
_CONFIG: Final = "config.json"
_FLAT: Final = frozenset({"apertus", "deepseek_v3", "gpt_oss", "seed_oss"})
"""Types of models whose templates the reference gives texts, whatever their words are."""
_TASKS: Final = {"classifier": "sequence-classification", "decoder": "text-generation"}
_STEPS: Final = {"classifier": ["Transformer"], "decoder": ["Transformer", "LogitScore"]}


@dataclass(frozen=True, slots=True)
class LogitStep:
    """The vocabulary's ids whose logits at the last token are the score: yes, less no if given."""

    yes: int
    no: int | None


@dataclass(frozen=True, slots=True)
class ScoreLayout:
    """One score for each pair of a query and a text."""

    model: Literal["classifier", "decoder"]
    text: TextLayout
    activation: str | None = None
    """The class in `torch.nn`; None where no file names one."""
    prompt: str = ""
    """The text before each query, where a request has none of its own."""
    logit: LogitStep | None = None
    by_messages: bool = False
    """True if the chat template makes the text of a pair."""
    message_format: str = "auto"
    """The form of a message's content: a text (`flat`), a list of parts (`structured`), or what
    the words of the template tell (`auto`)."""
    template_options: Mapping[str, Any] = field(default_factory=dict)
    """Values that the chat template is given."""
    facts: tuple[Fact, ...] = ()

    @property
    def kind(self) -> str:
        """The operation's name."""
        return "score"


def read_score(files: Files) -> Reading[ScoreLayout]:
    """Read a folder."""
    reader = Reader(files)
    config = reader.table(_CONFIG)
    model = _model(reader, config)
    require_own_architecture(reader, "")
    if model == "classifier":
        # A decoder's score is made of its logits: it has no head to judge.
        require_head(reader, _CONFIG, "classes")
        require_types_known(reader, pairs=True)
    form = published_form(config)
    if form not in (None, "flash_roberta"):
        reader.refuse(f"{_CONFIG}: architectures", f"is of a {form}, which makes no scores here")
    settings = reader.table(SETTINGS_FILE) if reader.has(MODULES_FILE) else {}
    if settings.get("model_type") != "CrossEncoder":
        # Another type of model is converted: only its transformer counts.
        text = text_layout(reader, "", "", {})
        template = chat_template(reader)
        layout = ScoreLayout(
            model,
            text,
            _activation(reader, {}, config),
            by_messages=_makes_pairs(reader, model, template),
            message_format=_message_format({}, config),
        )
    else:
        logit = _steps(reader, model)
        name, table = sentence_table(reader, "")
        table, options = _without_template_options(reader, name, table)
        layout = ScoreLayout(
            model,
            text_layout(reader, "", name, table),
            _activation(reader, settings, config),
            prompt=_prompt(reader, settings),
            logit=logit,
            by_messages=_makes_pairs(reader, model, _by_messages(reader, model, name, table)),
            message_format=_message_format(table, config),
            template_options=options,
        )
    if reader.refusals:
        return Reading(None, tuple(reader.refusals))
    return Reading(replace(layout, facts=tuple(dict.fromkeys(reader.facts))))


def without_words(reader: Reader) -> Refusal | None:
    """The refusal of a decoder without a LogitScore whose vocabulary lacks the usual words."""
    tokens = tokens_of(reader)
    lacking = [word for word in USUAL_WORDS if tokens is not None and word not in tokens]
    if not lacking:
        return None
    return Refusal(
        TOKENIZER_FILE,
        f"has no token {lacking[0]!r}, by which the reference judges a pair where no file names "
        "another",
        "save the model with sentence-transformers' LogitScore, or say --template",
    )


def _without_template_options(
    reader: Reader, name: str, table: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A transformer's settings without those of the chat template, and those."""
    asked = reader.take(name, table, "processing_kwargs", dict, {})
    options = reader.take(f"{name}: processing_kwargs", asked, "chat_template", dict, {})
    for each, value in sorted(options.items()):
        plain = isinstance(value, bool | str)
        if not plain or each in ("max_length", "padding", "truncation", "restore_suffix"):
            reader.refuse(
                f"{name}: processing_kwargs.chat_template.{each}",
                f"is {value!r}, which is not done here",
            )
    rest = {key: value for key, value in asked.items() if key != "chat_template"}
    return {**table, "processing_kwargs": rest}, options


def _message_format(table: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    modalities = table.get("modality_config")
    message = modalities.get("message") if isinstance(modalities, dict) else None
    said = str(message.get("format", "auto")) if isinstance(message, dict) else "auto"
    return "flat" if said == "auto" and str(config.get("model_type")) in _FLAT else said


def _model(reader: Reader, config: Mapping[str, Any]) -> Literal["classifier", "decoder"]:
    classes = config.get("architectures") or [""]
    name = str(classes[0]) if isinstance(classes, list) else ""
    reader.fact("model", name, f"{_CONFIG}: architectures")
    return "decoder" if name.endswith("ForCausalLM") else "classifier"


def _steps(reader: Reader, model: str) -> LogitStep | None:
    """The modules behind the transformer, which of a classifier are none."""
    tables = listed_modules(reader)
    names = [
        module_name(reader, f"{MODULES_FILE}: {place}.type", str(table.get("type")))
        for place, table in enumerate(tables)
    ]
    # A step that is not done would change every score, and each score would still look like one.
    if names != _STEPS[model] or joined(str(tables[0].get("path") or ""), ""):
        reader.refuse(
            MODULES_FILE,
            f"makes scores by {', '.join(map(str, names))}; of a {model}, "
            f"{' and '.join(_STEPS[model])} are done here, the transformer in the folder itself",
        )
        return None
    return None if model == "classifier" else _logit(reader, str(tables[1].get("path", "")))


def _logit(reader: Reader, folder: str) -> LogitStep:
    name = joined(folder, _CONFIG)
    table = reader.table(name)
    known = {"false_token_id", "module_input_name", "true_token_id"}
    reader.refuse_others(name, table, known, "LogitScore")
    if table.get("module_input_name", "causal_logits") != "causal_logits":
        reader.refuse(f"{name}: module_input_name", f"is {table['module_input_name']!r}")
    if "true_token_id" not in table:
        reader.refuse(f"{name}: true_token_id", "is not there", "restore the file")
    no = table.get("false_token_id")
    step = LogitStep(
        reader.take(name, table, "true_token_id", int, 0),
        None if no is None else reader.take(name, table, "false_token_id", int, 0),
    )
    words = reader.table(_CONFIG).get("vocab_size")
    for key, number in (("true_token_id", step.yes), ("false_token_id", step.no or 0)):
        if isinstance(words, int) and not -words <= number < words:
            reader.refuse(f"{name}: {key}", f"is {number}, and the vocabulary has {words} tokens")
    reader.fact("score", f"token {step.yes} less {step.no}", name)
    return step


def _makes_pairs(reader: Reader, model: str, source: str) -> bool:
    """True if a chat template makes the text of a pair, as `source` says; "" where none does."""
    if source and model == "classifier":
        reader.refuse(
            source,
            "has a chat template, into which the reference puts every pair; of a classifier that "
            "is not done here",
            "remove the template, if the model was trained without it",
        )
    return bool(source)


def _by_messages(reader: Reader, model: str, name: str, table: Mapping[str, Any]) -> str:
    """The setting that has a chat template make the pair, or "". What is not done is refused."""
    reader.refuse_others(name, table, KNOWN_SETTINGS, "Transformer")
    for each, value in sorted(text_layout(reader, "", name, table).tokenizer_options.items()):
        reader.refuse(f"{name}: processor_kwargs.{each}", f"is {value!r}, which is not done here")
    task = table.get("transformer_task", "feature-extraction")
    if task != _TASKS[model]:
        reader.refuse(
            f"{name}: transformer_task", f"is {task!r}, and {_TASKS[model]} scores pairs here"
        )
    for key in ("model_kwargs", "model_args", "config_kwargs", "config_args"):
        for each, value in sorted(reader.take(name, table, key, dict, {}).items()):
            if each not in LOADING_ONLY:
                reader.refuse(f"{name}: {key}.{each}", f"is {value!r}, which is not done here")
    if table.get("tokenizer_name_or_path") is not None:
        reader.refuse(f"{name}: tokenizer_name_or_path", "names another folder")
    return _takes_messages(reader, name, table)


def _takes_messages(reader: Reader, name: str, table: Mapping[str, Any]) -> str:
    modalities = reader.take(name, table, "modality_config", dict, {})
    forward = {"method": "forward", "method_output_name": "logits"}
    for each, said in modalities.items():
        plain = isinstance(said, dict) and {**said, "format": None} == {**forward, "format": None}
        if each not in ("text", "message") or not plain:
            reader.refuse(f"{name}: modality_config.{each}", f"is {said!r}, which is not done here")
        elif each == "message" and said.get("format", "auto") not in ("auto", "flat", "structured"):
            reader.refuse(
                f"{name}: modality_config.message.format",
                f"is {said['format']!r}; auto, flat and structured are done here",
            )
    return f"{name}: modality_config.message" if "message" in modalities else ""


def _activation(
    reader: Reader, settings: Mapping[str, Any], config: Mapping[str, Any]
) -> str | None:
    """The class of the activation, by the first file whose word the reference takes."""
    saved = config.get("sentence_transformers")
    named = [(f"{SETTINGS_FILE}: activation_fn", settings.get("activation_fn"))]
    if isinstance(saved, Mapping) and "activation_fn" in saved:
        where = f"{_CONFIG}: sentence_transformers.activation_fn"
        named.append((where, saved["activation_fn"]))
    else:
        key = "sbert_ce_default_activation_function"
        named.append((f"{_CONFIG}: {key}", config.get(key)))
    for source, path in named:
        # What is no class of torch the reference does not import, and passes over.
        if str(path).startswith("torch."):
            word = str(path).rsplit(".", 1)[-1]
            reader.fact("activation", word, source)
            if word not in ACTIVATIONS:
                reader.refuse(
                    source, f"is {path!r}; {', '.join(sorted(ACTIVATIONS))} are done here"
                )
            return word
    return None


def _prompt(reader: Reader, settings: Mapping[str, Any]) -> str:
    name = reader.take(SETTINGS_FILE, settings, "default_prompt_name", str, "")
    prompts = reader.take(SETTINGS_FILE, settings, "prompts", dict, {})
    if settings.get("default_prompt_name") is None:
        return ""
    source = f"{SETTINGS_FILE}: default_prompt_name"
    if name not in prompts:
        reader.refuse(source, f"is {name!r}, and the prompts are {sorted(prompts)}")
    reader.fact("prompt", repr(prompts.get(name)), source)
    return str(prompts.get(name) or "")
