"""The backend `transformer`: dense vectors from an encoder on torch, packed where it may be.

*shell* over one torch model and its adapters. Reads how vectors are made from the model's folder;
takes token ids only; answers float32. Sparse and multivector outputs, and heads that score or
classify, are other backends beside it.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoModel, PreTrainedModel

from sie_schemas.errors import FixRequest, OurFault
from sie_schemas.ipc import Answers, DenseAnswers, Loaded, RunBatch, TokensInput
from sie_schemas.jobs import AdapterPin
from sie_server import lora, lora_format
from sie_server.backend import Backend, DeviceSpec, ModelSpec, load_failed, take
from sie_server.backends.encoder import Encoder, Sequences, States
from sie_server.backends.pooling import pool
from sie_server.backends.probe import Verdict, probe
from sie_server.backends.sentence_layout import SentenceLayout, read_layout
from sie_server.backends.token_inputs import TokenLimits, read_tokens
from sie_server.packed_attention import register
from sie_server.sources import Weights
from sie_server.tokenizer_file import TokenizerFile, require_lowercase, tokenizer_file

__all__ = ["TransformerBackend", "load"]

_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_WEIGHT_FILES: Final = ("model.safetensors", "model.safetensors.index.json")


def load(spec: ModelSpec, device: DeviceSpec) -> Backend:
    """Load an encoder and probe it. Raises MODEL_LOAD_FAILED."""
    if spec.tasks.encode is None or set(spec.tasks.encode.outputs) != {"dense"}:
        raise load_failed("the backend transformer does `encode` with the output `dense` only")
    register()
    layout = read_layout(spec.weights.folder, spec.profile)
    tokenizer = tokenizer_file(spec.weights.folder, device.cache_folder)
    if layout.lowercase:
        require_lowercase(tokenizer.path)
    model = _model(spec, torch.device(device.name))
    return TransformerBackend(
        spec, Encoder(model, device=torch.device(device.name)), layout, tokenizer
    )


def _model(spec: ModelSpec, device: torch.device) -> PreTrainedModel:
    folder = spec.weights.folder
    for name in _weight_files(spec.weights):
        spec.weights.file(name)
    try:
        model, info = AutoModel.from_pretrained(
            folder,
            dtype=_DTYPES[spec.profile.dtype],
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise load_failed(
            f"transformers cannot load {folder}: {error}; the backend takes safetensors of the "
            "architectures that transformers itself knows, and runs no code of a model"
        ) from error
    _require_complete(folder.name, info)
    loaded: PreTrainedModel = model.to(device).eval().requires_grad_(False)
    return loaded


def _weight_files(weights: Weights) -> list[str]:
    """The files with weights: one, or an index and its shards."""
    if not any((weights.folder / name).is_file() for name in _WEIGHT_FILES):
        weights.file(_WEIGHT_FILES[0], cure="weights are read as safetensors only: convert them")
    return sorted(path.name for path in weights.folder.glob("model*.safetensors"))


def _require_complete(name: str, info: dict[str, Any]) -> None:
    """A weight that is missing would be random; only a pooler, which is not used, may be."""
    missing = [key for key in info["missing_keys"] if not key.startswith("pooler.")]
    if missing or info.get("mismatched_keys"):
        raise load_failed(
            f"the weights in {name} lack {len(missing)} tensors of the model, {missing[:1]} first; "
            "they would be random: restore the file"
        )


class TransformerBackend:
    """One encoder and its adapters, owned by the device's thread."""

    def __init__(
        self, spec: ModelSpec, encoder: Encoder, layout: SentenceLayout, tokenizer: TokenizerFile
    ) -> None:
        self._spec = spec
        self._encoder = encoder
        self._layout = layout
        self._tokenizer = tokenizer
        self._adapters: dict[AdapterPin, lora.Adapter] = {}
        config = encoder.model.config
        self._limits = TokenLimits(
            vocabulary=config.vocab_size,
            types=max(1, getattr(config, "type_vocab_size", None) or 1),
            tokens_max=_tokens_max(spec, encoder, layout),
        )
        self._verdict: Verdict = probe(
            encoder,
            self._pooled,
            vocabulary=self._limits.vocabulary,
            tokens_max=self._limits.tokens_max,
        )

    def describe(self) -> Loaded:
        """Token ids in, one dense vector out; how it runs is the probe's word."""
        return Loaded(
            id=0,
            revision=self._spec.revision,
            accepts="tokens",
            tokenizer_path=str(self._tokenizer.path),
            tokenizer_sha256=self._tokenizer.sha256,
            max_sequence_length=self._limits.tokens_max,
            prompts=dict(self._layout.prompts),
            cost_unit="tokens",
            execution=self._verdict.execution,
            reason=self._verdict.reason,
            dims={"dense": self._encoder.model.config.hidden_size},
            batch_invariant=self._spec.profile.batch_invariant,
            memory_bytes=self.memory_bytes(),
        )

    def memory_bytes(self) -> int:
        """Bytes of parameters and adapters."""
        model = sum(parameter.nbytes for parameter in self._encoder.model.parameters())
        return model + sum(adapter.memory_bytes for adapter in self._adapters.values())

    def load_adapter(self, pin: AdapterPin, weights: Weights) -> None:
        """Read an adapter and bind it to this model's layers."""
        for name in (lora_format.CONFIG_FILE, lora_format.WEIGHTS_FILE):
            weights.file(name)
        products = lora_format.read_adapter(weights.folder)
        model = self._encoder.model
        self._adapters[pin] = lora.bind(products, model, prefix=model.base_model_prefix)

    def run(self, batch: RunBatch) -> Answers:
        """Vectors in the order of the inputs."""
        if batch.operation != "encode" or set(batch.outputs) - {"dense"}:
            raise FixRequest(
                f"{self._spec.model_id} does encode with the output dense, not {batch.operation} "
                f"with {', '.join(batch.outputs) or 'none'}",
                code="UNSUPPORTED_OPERATION",
            )
        adapters = self._adapters_of(batch)
        ids, type_ids = read_tokens(take(batch, TokensInput), self._limits)
        owner = 0 if adapters else None
        sequences = Sequences(ids=ids, type_ids=type_ids, owners=[owner] * len(ids))
        vectors = self._pooled(self._states(sequences, adapters), sequences)
        if not torch.isfinite(vectors).all():
            raise OurFault(
                f"{self._spec.model_id} gave numbers that are not finite in "
                f"{self._spec.profile.dtype}; run it in fp32 or bf16",
                code="INFERENCE_ERROR",
            )
        values = vectors.cpu().numpy().astype("<f4", copy=False)
        return DenseAnswers(values.shape[1], np.ascontiguousarray(values).tobytes())

    def _adapters_of(self, batch: RunBatch) -> Sequence[lora.Adapter]:
        if batch.adapter is None:
            return ()
        adapter = self._adapters.get(batch.adapter)
        if adapter is None:
            raise FixRequest(
                f"{self._spec.model_id} has no adapter {batch.adapter.name} at revision "
                f"{batch.adapter.revision[:12]} loaded; load it first",
                code="ADAPTER_NOT_FOUND",
            )
        return (adapter,)

    def _states(self, sequences: Sequences, adapters: Sequence[lora.Adapter]) -> States:
        if self._verdict.execution == "packed":
            return self._encoder.packed(sequences, adapters)
        budget = self._spec.profile.batch_cost_max
        return self._encoder.padded(sequences, adapters, tokens_max=budget)

    @torch.inference_mode()
    def _pooled(self, states: States, sequences: Sequences) -> torch.Tensor:
        lengths = [len(sequences.ids[index]) for index in states.order]
        packed = pool(
            states.hidden, lengths, self._layout.pooling, normalize=self._layout.normalize
        )
        vectors = torch.empty_like(packed)
        vectors[torch.tensor(states.order, device=packed.device)] = packed
        return vectors


def _tokens_max(spec: ModelSpec, encoder: Encoder, layout: SentenceLayout) -> int:
    """The shortest of the limits: the layout's, the profile's, the model's positions."""
    positions = getattr(encoder.model.config, "max_position_embeddings", None)
    own = None if positions is None else positions - encoder.position_start
    limits = (layout.tokens_max, spec.profile.max_sequence_length, own)
    known = [limit for limit in limits if limit is not None and limit > 0]
    if not known:
        raise load_failed("nothing limits the length; set the profile's max_sequence_length")
    return min(known)
