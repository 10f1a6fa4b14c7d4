"""Frames between the worker sidecar and the model-execution process, over a Unix socket.

*types.* A frame is a 4-byte big-endian length and a msgpack message. The sidecar sends requests
with an `id`; the execution process answers each with one reply of that `id`, in any order. The
execution process knows no registry: `Load` carries the profile-resolved config, and a batch names
revisions that were loaded before.
"""

import struct
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct

from sie_schemas.ipc.answers import Answers
from sie_schemas.ipc.forms import Option, PairForm, PictureForm, QueryForm, TaskForm, TextForm
from sie_schemas.ipc.inputs import Input
from sie_schemas.items import Operation
from sie_schemas.jobs import AdapterPin

__all__ = [
    "FRAME_BYTES_MAX",
    "FRAME_HEADER",
    "IPC_VERSION",
    "AdapterLoaded",
    "BatchDone",
    "Batches",
    "Failed",
    "Hello",
    "Load",
    "LoadAdapter",
    "Loaded",
    "Ping",
    "Pong",
    "Reply",
    "Request",
    "RunBatch",
    "Unload",
    "decode_reply",
    "decode_request",
    "encode",
]

IPC_VERSION: Final = 1
"""Of the frames between sidecar and execution; both refuse another one at the first word."""
FRAME_HEADER: Final = struct.Struct(">I")
FRAME_BYTES_MAX: Final = 256 * 1024 * 1024
"""Pixels of 64 pictures of 1,024 by 1,024; a broken length is no order to allocate."""


# ---- requests -----------------------------------------------------------------------------------


class Ping(Struct, frozen=True, tag="ping"):
    """Is the process alive? Answered from the socket's loop, not by the device."""

    id: int


class Batches(Struct, frozen=True, tag="batches"):
    """From now on this connection carries batches only, and the device's thread reads it itself.

    Where `Hello` says `batches_apart`. Answered by a `Pong`, before which nothing else is sent.
    """

    id: int


class Load(Struct, frozen=True, tag="load", kw_only=True):
    """Make a model revision ready. `config` is `sie_schemas.revisions.profile_config`.

    `pinned` keeps it loaded until it is unloaded by name; a later `Load` of it may change that.
    `running` are the revisions of batches that were handed over: where others must leave for this
    one, these leave last.
    """

    id: int
    revision: str
    config: dict[str, Any]
    pinned: bool = False
    running: tuple[str, ...] = ()


class LoadAdapter(Struct, frozen=True, tag="load_adapter", kw_only=True):
    """Make an adapter ready beside a loaded model. `config` is the adapter's document."""

    id: int
    model_revision: str
    adapter: AdapterPin
    config: dict[str, Any]


class Unload(Struct, frozen=True, tag="unload"):
    """Free a model revision and its adapters, once nothing of it is queued."""

    id: int
    revision: str


class RunBatch(Struct, frozen=True, tag="run", kw_only=True, omit_defaults=True):
    """Run one batch of one lane. `outputs` and `labels` are those of the jobs in it.

    `adapters`, where given, names the adapter of each input (None: the base) and `adapter` is not
    read: only for a model that said `fuses_adapters`. `trace` is the `traceparent` of the
    batch, where it is traced.
    """

    id: int
    model_revision: str
    operation: Operation
    adapter: AdapterPin | None = None
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    options: dict[str, Any] = {}
    adapters: tuple[AdapterPin | None, ...] = ()
    trace: str = ""


Request: TypeAlias = Ping | Batches | Load | LoadAdapter | Unload | RunBatch


# ---- replies ------------------------------------------------------------------------------------


class Hello(Struct, frozen=True, tag="hello", kw_only=True):
    """First frame on a connection, from the execution process; it has `id` 0."""

    id: int = 0
    v: int = IPC_VERSION
    pid: int
    device: str
    backends: tuple[str, ...]
    memory_bytes: int = 0
    """The bytes that the device has for models, all told; 0 where it is not known."""
    memory_shared: bool = False
    """True if that is the host's memory, which every other such process of the host counts too."""
    batches_apart: bool = False
    """True if a connection may carry batches only (`Batches`)."""
    device_reason: str = ""
    """The reason for this device."""


class Pong(Struct, frozen=True, tag="pong", omit_defaults=True):
    """Answer to `Ping`, and to `Unload`.

    `downloading` says of each hub source (`<id>@<commit>`) that is being fetched how far it is.
    `resident` are the revisions that are loaded; None where it does not say. With `id` 0 it answers
    nothing, and tells that some have left.
    """

    id: int
    downloading: dict[str, str] = {}
    resident: tuple[str, ...] | None = None


class Loaded(Struct, frozen=True, tag="loaded", kw_only=True, omit_defaults=True):
    """The facts that the sidecar needs to know of a loaded model.

    `accepts` says which input the backend takes; with `tokens`, `tokenizer_path` is a
    `tokenizer.json` and the sidecar tokenizes, cutting at `max_sequence_length`. `cost_unit` is
    `tokens`, `bytes4` (a quarter of the text's bytes) or `items` (each costs `item_cost`). With
    `reads_per_label` a text is read once for each label. `execution` is `packed` or `padded`, as
    the probe decided; `reason` says why it is padded. With `fuses_adapters`, inputs of several
    adapters may share a batch (`RunBatch.adapters`). Long texts lose tokens at `truncation_side`;
    none are lost where it is empty. A model that `skips_prompts` is told how many tokens each
    input's prompt has. Without `special_tokens` a text has its own alone. `prompts` are those of a
    `query`, of a `document`, and by "" of a text that is called neither, where it has another.
    `query_form` says how queries are tokenized where otherwise. `instruction` is put before the
    query of a pair; `pair` makes its text. `resident` are the revisions that are loaded now, itself
    included; None: it does not say.
    """

    id: int
    revision: str
    accepts: str
    tokenizer_path: str = ""
    tokenizer_sha256: str = ""
    max_sequence_length: int = 0
    prompts: dict[str, str] = {}
    cost_unit: str = "tokens"
    item_cost: int = 1
    reads_per_label: int = 0
    execution: str = ""
    reason: str = ""
    dims: dict[str, int] = {}
    batch_invariant: bool = True
    memory_bytes: int = 0
    load_ms: float = 0.0
    fuses_adapters: bool = False
    truncation_side: str = "right"
    skips_prompts: bool = False
    special_tokens: bool = True
    query_form: QueryForm | None = None
    instruction: str = ""
    pair: PairForm | None = None
    texts: dict[str, TextForm] = {}
    """The forms of a `query` and a `document`, where a score is made of both."""
    resident: tuple[str, ...] | None = None
    dtype: str = ""
    dtype_reason: str = ""
    """The type that it computes in, and why; empty where a backend has none to choose."""
    options: tuple[Option, ...] | None = None
    """The options that its backend declares; None where an older process does not say."""
    templates: dict[str, str] = {}
    """`query`, `document`, and the default `instruction`, as the profile's options have them."""
    picture: PictureForm | None = None
    tasks: TaskForm | None = None


class AdapterLoaded(Struct, frozen=True, tag="adapter_loaded"):
    """Answer to `LoadAdapter`."""

    id: int
    adapter: AdapterPin


class BatchDone(Struct, frozen=True, tag="done", kw_only=True):
    """Answer to `RunBatch`, one answer for each input in order."""

    id: int
    answers: Answers
    inference_ms: float


class Failed(Struct, frozen=True, tag="failed", kw_only=True, omit_defaults=True):
    """A request that could not be done. `code` is of `sie_schemas.errors.CODES`."""

    id: int
    code: str
    message: str
    retry_after_s: float | None = None


Reply: TypeAlias = Hello | Pong | Loaded | AdapterLoaded | BatchDone | Failed

_ENCODER: Final = msgspec.msgpack.Encoder()
_REQUESTS: Final[msgspec.msgpack.Decoder[Request]] = msgspec.msgpack.Decoder(Request)
_REPLIES: Final[msgspec.msgpack.Decoder[Reply]] = msgspec.msgpack.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    """A whole frame, header included."""
    body = _ENCODER.encode(message)
    return FRAME_HEADER.pack(len(body)) + body


def decode_request(body: bytes) -> Request:
    """Read a request's body. Raises one of `MALFORMED`."""
    return _REQUESTS.decode(body)


def decode_reply(body: bytes) -> Reply:
    """Read a reply's body. Raises one of `MALFORMED`."""
    return _REPLIES.decode(body)
