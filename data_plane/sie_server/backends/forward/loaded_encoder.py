"""The part that all backends on an encoder share: its limits, adapters, forward and words.

*device* over one encoder. The outputs are the backend's: it says how hidden states become numbers
(`Finish`), and the probe judges those. `load_adapter` and `prepare` may run on any thread beside a
batch; everything else belongs to the device's thread.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from torch import Tensor, nn

from sie_layouts.adapter import other_steps
from sie_layouts.folder import FolderFiles
from sie_layouts.inputs.tokenizer_classes import (
    types_beyond,
    types_of_single_texts,
    types_unstated,
)
from sie_layouts.steps import TextLayout
from sie_schemas.errors import FixRequest, OurFault
from sie_schemas.ipc import Loaded, RunBatch, TokensInput
from sie_schemas.items import Operation
from sie_schemas.jobs import AdapterPin
from sie_server.adapters import lora, lora_format
from sie_server.backends.backend import (
    DeviceSpec,
    ModelSpec,
    Verdict,
    load_failed,
    require_operation,
)
from sie_server.backends.forward.encoder import Encoder, Sequences, States
from sie_server.backends.forward.probe import Finish, probe, settle, unlike_alone
from sie_server.backends.forward.token_inputs import TokenLimits, read_tokens, tokens_max
from sie_server.backends.model_files import dtype_choice, has_own_code
from sie_server.weights.file_hashes import sha256_as_of, stamp_of
from sie_server.weights.sources import Weights
from sie_server.weights.tokenizer_file import (
    TokenizerFile,
    highest_type,
    require_room,
    tokenizer_gives_types,
)

__all__ = ["EncoderBackend", "LoadedEncoder"]

T = TypeVar("T")

_PREPACK_AFTER_TOKENS: Final = 1024
"""About when a model that came back has earned what it costs to lay its weights out anew."""
_OWN_CODE: Final = "the model runs its own code, of which three texts prove too little"


@dataclass(frozen=True, slots=True)
class _Owners:
    """The adapters of a batch, and for each input the place of its own."""

    adapters: tuple[lora.Adapter, ...]
    places: list[int | None]


class LoadedEncoder:
    """One encoder, probed, with its adapters."""

    def __init__(
        self,
        spec: ModelSpec,
        encoder: Encoder,
        tokenizer: TokenizerFile,
        device: DeviceSpec,
        *,
        finish: Finish,
        text: TextLayout | None = None,
        takes_types: bool = True,
        reference: Callable[[Tensor], Tensor] | None = None,
        tasks: Mapping[str, lora.Adapter] = MappingProxyType({}),
        whole: nn.Module | None = None,
    ) -> None:
        self.spec = spec
        self.encoder = encoder
        self.tokenizer = tokenizer
        self._shelf = device.adapters
        self._tasks = tasks
        self._whole = whole
        self._dtype = dtype_choice(spec, device)
        config = encoder.model.config
        limit, by_table = tokens_max(
            text,
            said=spec.profile.max_sequence_length,
            named=getattr(config, "max_position_embeddings", None),
            positions=encoder.positions,
        )
        self.limits = TokenLimits(
            vocabulary=config.vocab_size,
            types=encoder.types if takes_types else 0,
            tokens_max=limit,
            uncounted=encoder.no_position if by_table else None,
        )
        is_pair = spec.tasks.score is not None and spec.tasks.encode is None
        require_room(tokenizer.path, self.limits.tokens_max, is_pair=is_pair)
        _require_types(spec.weights.folder, encoder, tokenizer.path, is_pair=is_pair)
        before = (spec.weights.folder, spec.revision)
        known = device.verdicts.get(before)
        self._probe = partial(
            probe,
            encoder,
            finish,
            vocabulary=self.limits.vocabulary,
            tokens_max=self.limits.tokens_max,
            reference=reference,
        )
        self._verdict: Verdict = (
            settle(encoder, known)
            if known is not None
            else self._probe(padded_because=_OWN_CODE if has_own_code(spec.weights) else "")
        )
        device.verdicts[before] = self._verdict
        self._tokens_to_prepack = (
            _PREPACK_AFTER_TOKENS if known is not None and known.prepacked else 0
        )
        """Tokens that are still to be run before the weights are laid out anew; 0: done."""

    @property
    def memory_bytes(self) -> int:
        """Bytes of the weights and of the changes that belong to them."""
        changes = sum(change.memory_bytes for change in self._tasks.values())
        return self.encoder.memory_bytes + changes

    def describe(self) -> Loaded:
        """Token ids in; how it runs is the probe's word."""
        return Loaded(
            id=0,
            revision=self.spec.revision,
            accepts="tokens",
            tokenizer_path=str(self.tokenizer.path),
            tokenizer_sha256=self.tokenizer.sha256,
            max_sequence_length=self.limits.tokens_max,
            truncation_side=self.tokenizer.truncation_side,
            cost_unit="tokens",
            execution="packed" if self._verdict.execution == "packed" else "padded",
            reason=self._verdict.reason,
            batch_invariant=self.spec.profile.batch_invariant,
            memory_bytes=self.memory_bytes,
            fuses_adapters=True,
            dtype=self._dtype.name,
            dtype_reason=self._dtype.why,
        )

    def load_adapter(self, pin: AdapterPin, weights: Weights) -> None:
        """Read an adapter and bind it to this model's layers."""
        for name in (lora_format.CONFIG_FILE, lora_format.WEIGHTS_FILE):
            weights.file(name)
        model = self.encoder.model
        own = self.spec.weights
        other = other_steps(FolderFiles(weights.folder), FolderFiles(own.within or own.folder))
        if other:
            raise lora_format.refused(
                f"the adapter in {weights.folder} was saved with steps of its own: {other}; save "
                "it with peft alone, or merge it into its base and register that as a model"
            )
        pools = self.spec.tasks.encode is None
        verified = _each(sha256_as_of, weights.folder)
        weights.check_unchanged()

        def read() -> lora.Adapter:
            # A stamp moves with another owner or link too, of the same bytes: they count. During
            # the reading they may have been others for a moment.
            before = _each(stamp_of, weights.folder)
            if _each(sha256_as_of, weights.folder) != verified:
                raise lora_format.refused(
                    f"the adapter in {weights.folder} was changed after it was verified; "
                    "restore it, or register what is there now"
                )
            products, config = lora_format.read_adapter(weights.folder)
            if _each(stamp_of, weights.folder) != before:
                raise lora_format.refused(
                    f"the adapter in {weights.folder} was changed while it was read; ask again"
                )
            prefix = model.base_model_prefix
            return lora.bind(products, model, config, prefix=prefix, whole=self._whole, pools=pools)

        self._shelf.put(self.spec.revision, pin, read)

    def prepare(self, batch: RunBatch) -> None:
        """Read what the batch's adapters need, so that the device does not wait for a disk."""
        for pin in {*batch.adapters, batch.adapter} - {None}:
            if pin is not None:
                self._shelf.get(self.spec.revision, pin)

    def pad(self, reason: str) -> None:
        """From now on run padded, and say why."""
        self._verdict = self._probe(padded_because=reason)

    def try_together(self, texts: Sequences, finish: Finish, what: str) -> None:
        """Try texts of a kind that the probe has not. Where they differ from each alone, the model
        runs padded from now on, or else each text by itself."""
        if self._verdict.execution == "packed":
            differs = unlike_alone(self.encoder, finish, texts, "packed")
            if differs:
                self.pad(f"{what}: {differs}")
        # The fillers of DeBERTa look at the whole row, its padding too.
        if self._verdict.execution == "padded":
            differs = unlike_alone(self.encoder, finish, texts, "padded")
            if differs:
                self.encoder.choose("alone")
                self._verdict = Verdict("alone", f"{what}, padded: {differs} to running alone")

    def leave(self) -> None:
        """Let go of the adapters."""
        self._shelf.remove(self.spec.revision)

    def require(
        self, batch: RunBatch, operation: Operation, outputs: Set[str] = frozenset()
    ) -> None:
        """Refuse an operation or an output that the model has not. Raises `FixRequest`."""
        require_operation(batch, self.spec.model_id, operation, outputs)

    def run(self, batch: RunBatch, inputs: Sequence[TokensInput]) -> tuple[States, Sequences]:
        """The hidden states of every token, and the sequences that they belong to."""
        owners = self._owners(batch, inputs)
        ids, type_ids = read_tokens(inputs, self.limits)
        skips = [max(0, given.skip) for given in inputs]
        sequences = Sequences(
            ids=ids,
            type_ids=type_ids,
            owners=owners.places,
            skips=skips if any(skips) else (),
            attended=_attended(inputs, ids),
        )
        # A model that leaves again soon never earns it: laying weights out costs more than the rest
        # of a load.
        if self._tokens_to_prepack:
            self._prepack_later(sum(sequences.lengths))
        if self._verdict.execution == "packed":
            return self.encoder.packed(sequences, owners.adapters), sequences
        budget = self.spec.profile.batch_cost_max
        return self.encoder.padded(sequences, owners.adapters, tokens_max=budget), sequences

    def _prepack_later(self, tokens: int) -> None:
        self._tokens_to_prepack = max(0, self._tokens_to_prepack - tokens)
        if not self._tokens_to_prepack:
            self.encoder.prepack()

    def require_finite(self, *numbers: Tensor) -> None:
        """Half precision may overflow: never answer with what is no number."""
        if not all(part.isfinite().all() for part in numbers):
            raise OurFault(
                f"{self.spec.model_id} gave numbers that are not finite in "
                f"{self._dtype.name}; run it in fp32 or bf16",
                code="INFERENCE_ERROR",
            )

    def _owners(self, batch: RunBatch, inputs: Sequence[TokensInput]) -> _Owners:
        pins = batch.adapters or (batch.adapter,) * len(inputs)
        if len(pins) != len(inputs):
            raise FixRequest(
                f"{len(inputs)} inputs and {len(pins)} adapters: each input has one, or None",
                field="adapters",
            )
        wanted = [self._change(pin, each.task) for pin, each in zip(pins, inputs, strict=True)]
        places = {each: place for place, each in enumerate(dict.fromkeys(w for w in wanted if w))}
        adapters = tuple(self._adapter(each) for each in places)
        return _Owners(adapters, [None if each is None else places[each] for each in wanted])

    def _change(self, pin: AdapterPin | None, task: str) -> AdapterPin | str | None:
        """The one thing that changes the weights for an input. Raises `FixRequest`."""
        # Both change the same weights. The reference has no call that names two.
        if pin is not None and task:
            raise FixRequest(
                f"{self.spec.model_id} is asked for the adapter {pin.name} and the task {task}: "
                "name one of them",
                field="$.params.options.task",
            )
        if task and task not in self._tasks:
            raise FixRequest(
                f"{self.spec.model_id} has no task {task!r}", field="$.params.options.task"
            )
        return pin or task or None

    def _adapter(self, pin: AdapterPin | str) -> lora.Adapter:
        if isinstance(pin, str):
            return self._tasks[pin]
        adapter = self._shelf.get(self.spec.revision, pin)
        if adapter is None:
            raise FixRequest(
                f"{self.spec.model_id} has no adapter {pin.name} at revision "
                f"{pin.revision[:12]} loaded; load it first",
                code="ADAPTER_NOT_FOUND",
            )
        return adapter


class EncoderBackend:
    """The part of a backend that is its encoder's. A subclass sets `_core` when it is made."""

    _core: LoadedEncoder

    def memory_bytes(self) -> int:
        """Bytes of the encoder's weights; heads are small, or tied to its embeddings."""
        return self._core.memory_bytes

    def load_adapter(self, pin: AdapterPin, weights: Weights) -> None:
        """Read an adapter and bind it to the encoder's layers."""
        self._core.load_adapter(pin, weights)

    def prepare(self, batch: RunBatch) -> None:
        """Have the batch's adapters in memory."""
        self._core.prepare(batch)

    def leave(self) -> None:
        """Let go of the adapters."""
        self._core.leave()


def _attended(inputs: Sequence[TokensInput], ids: Sequence[Tensor]) -> list[int]:
    """The tokens of each text at which its others look; none where each looks at all."""
    told = [given.attended for given in inputs]
    if not any(told):
        return []
    return [
        count if 0 < count < len(own) else len(own) for count, own in zip(told, ids, strict=True)
    ]


def _require_types(folder: Path, encoder: Encoder, tokenizer: Path, *, is_pair: bool) -> None:
    """Refuse token types that the reference would give the model, and that are not given here."""
    highest = highest_type(tokenizer, is_pair=is_pair) if encoder.types else 0
    typed = highest > 0 and (not is_pair or highest >= encoder.types)
    if not (typed or encoder.types_unstated) or not tokenizer_gives_types(folder):
        return
    if typed:
        found = types_beyond(encoder.types, highest) if is_pair else types_of_single_texts()
        raise load_failed(str(found))
    raise load_failed(str(types_unstated()))


def _each(told: Callable[[Path], T], folder: Path) -> tuple[T, ...]:
    """The same of each of an adapter's files. Raises MODEL_LOAD_FAILED."""
    try:
        return tuple(
            told(folder / name) for name in (lora_format.CONFIG_FILE, lora_format.WEIGHTS_FILE)
        )
    except OSError as error:
        raise lora_format.refused(
            f"{folder} cannot be read any more: {error.strerror}; restore the adapter's files"
        ) from error
