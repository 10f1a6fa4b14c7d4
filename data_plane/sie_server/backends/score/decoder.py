"""Decoders that judge a pair: the logits of a yes and a no behind a template.

*device* over one causal language model and its adapters. The template and its tokens are those of
the profile (`pair_template`, `yes_token`, `no_token`, `temperature`). Else they are the folder's:
its chat template with the roles `query` and `document`, and its LogitScore. Of the vocabulary's
logits only these rows are computed, and compared with the model's own at load.
"""

from dataclasses import dataclass
from typing import Any, Final

import torch
from msgspec.structs import replace
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from sie_core.pair_templates import PairTemplate, pair_template
from sie_layouts.score import USUAL_WORDS, LogitStep, ScoreLayout
from sie_schemas.ipc import Answers, Loaded, PairForm, RunBatch, TokensInput
from sie_server.backends.backend import DeviceSpec, ModelSpec, load_failed, take
from sie_server.backends.forward.encoder import Encoder, Sequences
from sie_server.backends.forward.loaded_encoder import EncoderBackend, LoadedEncoder
from sie_server.backends.forward.trial_texts import trial_texts
from sie_server.backends.heads.class_heads import last_states
from sie_server.backends.heads.vector_answers import lengths_of, rows_as_given
from sie_server.backends.model_files import backbone_of, load_model
from sie_server.backends.score.activations import chosen_activation, judge, score_answers
from sie_server.backends.score.chat_templates import chat_form
from sie_server.tolerances import logits_agree
from sie_server.weights.tokenizer_file import tokenizer_file

__all__ = ["DecoderReranker"]

_LENGTHS: Final = (19, 7, 4)
"""Of the texts that are tried, as for other heads (`heads.class_heads`)."""


@dataclass(frozen=True, slots=True)
class _Question:
    """The question to a model, and how its answer counts; `form` None: the tokenizer's own pair."""

    form: PairForm | None
    yes: int
    no: int | None
    activation: str
    temperature: float


class DecoderReranker(EncoderBackend):
    """One decoder, owned by the device's thread."""

    def __init__(self, spec: ModelSpec, device: DeviceSpec, layout: ScoreLayout) -> None:
        place = torch.device(device.name)
        tokenizer = tokenizer_file(spec.weights.folder, device.cache_folder, layout.text)
        native = Tokenizer.from_file(str(tokenizer.path))
        self._layout = layout
        self._question = _question(spec, layout, native)
        model = load_model(spec, device, AutoModelForCausalLM)
        self._head = _YesNo(model, self._question.yes, self._question.no)
        encoder = Encoder(backbone_of(model), device=place)
        _require_same(model, encoder, self._head)
        self._core = LoadedEncoder(
            spec,
            encoder,
            tokenizer,
            device,
            finish=lambda states, sequences: rows_as_given(
                last_states(states.hidden, lengths_of(states, sequences)).float(), states.order
            ),
            text=layout.text,
            takes_types=False,
        )

    def describe(self) -> Loaded:
        """Token ids of pairs in, one score out."""
        return replace(
            self._core.describe(),
            instruction="" if self._question.form is not None else self._layout.prompt,
            pair=self._question.form,
        )

    @torch.inference_mode()
    def run(self, batch: RunBatch) -> Answers:
        """One score for each pair, in order."""
        self._core.require(batch, "score")
        states, sequences = self._core.run(batch, take(batch, TokensInput))
        logits = self._head(last_states(states.hidden, lengths_of(states, sequences)))
        self._core.require_finite(logits)
        given = rows_as_given(logits, states.order)[:, None] / self._question.temperature
        return score_answers(judge(given, self._question.activation, 0))


class _YesNo:
    """The logit of yes, less that of no, of states [pairs, width]: [pairs], float32."""

    def __init__(self, model: PreTrainedModel, yes: int, no: int | None) -> None:
        parts: Any = model
        found: Any = parts.get_output_embeddings()
        if not isinstance(found, nn.Linear):
            raise load_failed(f"{type(model).__name__} has no output layer that is known here")
        self.rows = rows = [yes] if no is None else [yes, no]
        if max(rows) >= found.out_features:
            raise load_failed(f"the vocabulary has {found.out_features} tokens, and no {max(rows)}")
        self._weight = found.weight[rows]
        self._bias = None if found.bias is None else found.bias[rows]
        self._cap = getattr(model.config, "final_logit_softcapping", None)

    def __call__(self, states: Tensor) -> Tensor:
        logits = nn.functional.linear(states, self._weight, self._bias)
        if self._cap is not None:
            logits = torch.tanh(logits / self._cap) * self._cap
        # As the reference: the difference in the model's type, and float32 from there.
        return (logits[:, 0] - logits[:, 1] if logits.shape[1] == 2 else logits[:, 0]).float()


def _question(spec: ModelSpec, layout: ScoreLayout, native: Tokenizer) -> _Question:
    options = spec.profile.options
    source = options.get("pair_template")
    chosen: PairTemplate | None = None if source is None else pair_template(str(source))
    if chosen is not None:
        form: PairForm | None = chosen.form
    else:
        form = chat_form(spec.weights.folder, layout) if layout.by_messages else None
    told = options.get("default_instruction")
    if told is not None and form is not None:
        form = replace(form, instruction=str(told))
    step = _tokens(spec, layout, chosen, native)
    usual = None if chosen is None else chosen.activation
    return _Question(
        form,
        step.yes,
        step.no,
        chosen_activation(spec, layout.activation) or usual or "Sigmoid",
        float(options.get("temperature", 1.0 if chosen is None else chosen.temperature)),
    )


def _tokens(
    spec: ModelSpec, layout: ScoreLayout, chosen: PairTemplate | None, native: Tokenizer
) -> LogitStep:
    """The profile's tokens, else the template's, else the folder's, else the reference's own."""
    options = spec.profile.options
    yes, no = options.get("yes_token"), options.get("no_token")
    if yes is None and no is not None:
        raise load_failed("the option no_token needs yes_token beside it")
    if yes is not None:
        return LogitStep(_id(native, str(yes)), None if no is None else _id(native, str(no)))
    if chosen is not None:
        return LogitStep(
            _id(native, chosen.yes), None if chosen.no is None else _id(native, chosen.no)
        )
    if layout.logit is not None:
        return layout.logit
    # The reference takes no part of a word for it: it would judge every pair alike.
    yes_id, no_id = (native.token_to_id(word) for word in USUAL_WORDS)
    if yes_id is None or no_id is None:
        raise load_failed(
            f"the tokenizer lacks {' or '.join(USUAL_WORDS)}: set yes_token, no_token"
        )
    return LogitStep(yes_id, no_id)


def _id(native: Tokenizer, text: str) -> int:
    found = native.token_to_id(text)
    if found is None:
        ids = native.encode(text, add_special_tokens=False).ids
        found = ids[0] if ids else None
    if found is None:
        raise load_failed(f"the tokenizer has no token {text!r}: set yes_token and no_token")
    return int(found)


@torch.inference_mode()
def _require_same(model: PreTrainedModel, encoder: Encoder, head: _YesNo) -> None:
    """Refuse a model whose logits are made otherwise. Raises MODEL_LOAD_FAILED."""
    encoder.choose("padded")
    device = next(model.parameters()).device
    for ids in trial_texts(model.config.vocab_size, _LENGTHS):
        own: Tensor = model(input_ids=ids[None].to(device)).logits[:, -1]
        single = Sequences(ids=[ids], type_ids=[None], owners=[None])
        states = encoder.padded(single, tokens_max=len(ids))
        found = head(last_states(states.hidden, [len(ids)]))
        expected = own[:, head.rows[0]]
        if len(head.rows) == 2:
            expected = expected - own[:, head.rows[1]]
        if not logits_agree(found, expected.float(), encoder.dtype):
            raise load_failed(
                f"{type(model).__name__} makes its logits in a way that is not known here; "
                "use a model of another family"
            )
