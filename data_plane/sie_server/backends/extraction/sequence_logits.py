"""A classifier of whole texts: logits of token ids, packed where its head allows it.

*device* over one sequence-classification model and its adapters. A model whose head is not known
here, or that decodes (BART), answers by its own forward, padded, and takes no adapters.
"""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, Final

import torch
from msgspec.structs import replace
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from sie_schemas.errors import FixRequest, OurFault, SIEError
from sie_schemas.ipc import Loaded, RunBatch, TokensInput
from sie_schemas.jobs import AdapterPin
from sie_server.backends.architectures.big_bird import switches_attention
from sie_server.backends.backend import DeviceSpec, ModelSpec, load_failed
from sie_server.backends.forward.encoder import Encoder
from sie_server.backends.forward.loaded_encoder import LoadedEncoder
from sie_server.backends.forward.token_inputs import TokenLimits, read_tokens
from sie_server.backends.forward.trial_texts import first_plain, trial_texts
from sie_server.backends.heads.class_heads import Head, first_states, require_same, sequence_head
from sie_server.backends.heads.vector_answers import rows_as_given
from sie_server.backends.model_files import (
    backbone_of,
    dtype_choice,
    label_names,
    load_model,
)
from sie_server.packed.packed_attention import register
from sie_server.tolerances import logits_agree
from sie_server.weights.sources import Weights
from sie_server.weights.tokenizer_file import TokenizerFile, tokenizer_file

__all__ = ["SequenceLogits"]

_TRIED: Final = (33, 5, 19)
"""Tokens of the texts by which padding is tried."""
_AT_ONCE: Final = 256
"""The hidden states of more inputs are not held together."""


class SequenceLogits:
    """One classifier, owned by the device's thread; a backend of it adds `run`."""

    def __init__(self, spec: ModelSpec, device: DeviceSpec) -> None:
        register()
        self._spec = spec
        self._place = torch.device(device.name)
        self._dtype = dtype_choice(spec, device)
        self._model = load_model(spec, device, AutoModelForSequenceClassification)
        self.tokenizer: TokenizerFile = tokenizer_file(spec.weights.folder, device.cache_folder)
        self._core: LoadedEncoder | None = None
        self._head: Head | None = None
        self._why_whole = "the model decodes"
        if not self._model.config.is_encoder_decoder:
            self._try_packed(device)
        self._limits = self._core.limits if self._core is not None else _limits(spec, self._model)
        # Tried, as no config says it: a head that reads the last place reads padding in a batch.
        self._pads = self._core is not None or self._may_pad()
        self.names = label_names(self._model)
        """The label of each logit."""

    @property
    def config(self) -> Any:
        """The model's config."""
        return self._model.config

    @property
    def tokens_max(self) -> int:
        """The most tokens of an input."""
        return self._limits.tokens_max

    @property
    def takes_types(self) -> bool:
        """True if the model tells the two texts of a pair apart by types."""
        return self._limits.types > 1

    def describe(self) -> Loaded:
        """Token ids in."""
        if self._core is not None:
            return self._core.describe()
        return Loaded(
            id=0,
            revision=self._spec.revision,
            accepts="tokens",
            tokenizer_path=str(self.tokenizer.path),
            tokenizer_sha256=self.tokenizer.sha256,
            max_sequence_length=self.tokens_max,
            execution="padded",
            reason=self._why_whole,
            dtype=self._dtype.name,
            dtype_reason=self._dtype.why,
            batch_invariant=self._spec.profile.batch_invariant,
            memory_bytes=self.memory_bytes(),
        )

    def memory_bytes(self) -> int:
        """Bytes of the weights."""
        if self._core is not None:
            return self._core.encoder.memory_bytes
        return sum(weight.nbytes for weight in self._model.parameters())

    def load_adapter(self, pin: AdapterPin, weights: Weights) -> None:
        """Make an adapter ready. Raises ADAPTER_LOAD_FAILED."""
        if self._core is None:
            raise OurFault(
                f"{self._spec.model_id} runs by its own forward ({self._why_whole}) and takes no "
                "adapters",
                code="ADAPTER_LOAD_FAILED",
            )
        self._core.load_adapter(pin, weights)

    def prepare(self, batch: RunBatch) -> None:
        """Have the batch's adapters in memory."""
        if self._core is not None:
            self._core.prepare(batch)

    def leave(self) -> None:
        """Let go of the adapters."""
        if self._core is not None:
            self._core.leave()

    @torch.inference_mode()
    def logits(
        self,
        batch: RunBatch,
        inputs: Sequence[TokensInput],
        adapters: Sequence[AdapterPin | None] | None = None,
    ) -> Tensor:
        """Logits [inputs, labels] in order, on the CPU. `adapters` has one for each input, where
        these are not those of the batch."""
        pins = adapters or batch.adapters or (batch.adapter,) * len(inputs)
        parts = []
        for start in range(0, len(inputs), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            own = replace(batch, adapters=tuple(pins[some]))
            parts.append(self._some(own, inputs[some]).float().cpu())
        # Before anything is made of them: softmax would turn one NaN into a NaN for every label.
        found = torch.cat(parts)
        if not found.isfinite().all():
            raise OurFault(
                f"{self._spec.model_id} gave numbers that are not finite in "
                f"{self._dtype.name}; run it in fp32 or bf16",
                code="INFERENCE_ERROR",
            )
        return found

    def _try_packed(self, device: DeviceSpec) -> None:
        encoder = Encoder(backbone_of(self._model), device=self._place)
        try:
            head = sequence_head(self._model)
            require_same(self._model, encoder, head)
        except (SIEError, AttributeError, TypeError):
            self._why_whole = f"the head of {type(self._model).__name__} is not known here"
            return
        self._core = LoadedEncoder(
            self._spec,
            encoder,
            self.tokenizer,
            device,
            finish=first_states,
            whole=self._model,
        )
        self._head = head

    def _some(self, batch: RunBatch, inputs: Sequence[TokensInput]) -> Tensor:
        if self._core is not None and self._head is not None:
            states, sequences = self._core.run(batch, inputs)
            rows = self._head(states, sequences)
            return rows_as_given(rows.reshape(len(inputs), -1), states.order)
        if any(pin is not None for pin in batch.adapters):
            raise FixRequest(f"{self._spec.model_id} takes no adapters", code="ADAPTER_NOT_FOUND")
        ids, types = read_tokens(inputs, self._limits)
        found: list[Tensor] = []
        order: list[int] = []
        for chunk in self._chunks(ids):
            found.append(self._whole([ids[place] for place in chunk], [types[p] for p in chunk]))
            order += chunk
        return rows_as_given(torch.cat(found), order)

    def _chunks(self, ids: Sequence[Tensor]) -> Iterator[list[int]]:
        """Places of inputs that go together: of like length, and with as many ends.

        BART reads the state of the last end, and takes only batches whose members have as many.
        """
        end = getattr(self._model.config, "eos_token_id", None)
        ends = [0 if end is None else int((own == end).sum()) for own in ids]
        budget = self._spec.profile.batch_cost_max
        chunk: list[int] = []
        for place in sorted(range(len(ids)), key=lambda place: (ends[place], len(ids[place]))):
            full = not self._pads or (len(chunk) + 1) * len(ids[place]) > budget
            if chunk and (full or ends[chunk[0]] != ends[place]):
                yield chunk
                chunk = []
            chunk.append(place)
        yield chunk

    @torch.inference_mode()
    def _may_pad(self) -> bool:
        """True if texts of several lengths answer together as each alone."""
        if switches_attention(self._model):
            return False
        vocabulary = self._limits.vocabulary
        end = getattr(self._model.config, "eos_token_id", None)
        texts = trial_texts(vocabulary, [min(each, self._limits.tokens_max) for each in _TRIED])
        if isinstance(end, int):
            for text in texts:
                # One end in each text, as tokenizers give it: BART takes no batch of others.
                text[text == end] = first_plain(vocabulary)
                text[-1] = end
        try:
            together = self._whole(texts, [None] * len(texts))
            alone = torch.cat([self._whole([text], [None]) for text in texts])
        except (RuntimeError, ValueError, IndexError):
            return False
        return logits_agree(together, alone, self._model.dtype)

    def _whole(self, ids: Sequence[Tensor], types: Sequence[Tensor | None]) -> Tensor:
        parameters = inspect.signature(self._model.forward).parameters
        # Some published files say -1, which is no row of a table.
        padding = max(self._model.config.pad_token_id or 0, 0)
        inputs: dict[str, Any] = {
            "input_ids": self._pad(ids, padding),
            "attention_mask": self._pad([torch.ones_like(own) for own in ids], 0),
        }
        if self.takes_types and "token_type_ids" in parameters:
            given = [
                torch.zeros_like(own) if each is None else each
                for own, each in zip(ids, types, strict=True)
            ]
            inputs["token_type_ids"] = self._pad(given, 0)
        if "use_cache" in parameters:
            # Nobody asks for a next token, for which alone keys and values would be kept.
            inputs["use_cache"] = False
        rows: Tensor = self._model(**inputs).logits
        return rows

    def _pad(self, rows: Sequence[Tensor], value: int) -> Tensor:
        return torch.nn.utils.rnn.pad_sequence(
            list(rows), batch_first=True, padding_value=value
        ).to(self._place)


def _limits(spec: ModelSpec, model: PreTrainedModel) -> TokenLimits:
    config: Any = model.config
    known = [
        limit
        for limit in (
            spec.profile.max_sequence_length,
            getattr(config, "max_position_embeddings", None),
        )
        if limit
    ]
    if not known:
        raise load_failed("nothing limits the length; set the profile's max_sequence_length")
    return TokenLimits(
        vocabulary=config.vocab_size,
        types=max(1, getattr(config, "type_vocab_size", None) or 1),
        tokens_max=min(known),
    )
