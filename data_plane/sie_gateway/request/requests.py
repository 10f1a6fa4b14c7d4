"""Reading a request's body: bytes in, a checked `Asked` out, or an error that names the field.

*pure.* Promises that what it returns has at least one item, each with content that the backends
take, within the limits, and can be encoded again for the queue. Does not know the model: outputs
and adapters are checked against the registry by the caller.
"""

from dataclasses import dataclass
from typing import Any, Final, TypeAlias, assert_never

import msgspec
from msgspec import Struct

from sie_schemas.errors import FixRequest
from sie_schemas.items import EncodeRequest, ExtractRequest, Item, Operation, ScoreRequest
from sie_schemas.jobs import JOB_ENCODER
from sie_schemas.malformed import MALFORMED, problem_of

__all__ = [
    "Asked",
    "Decoder",
    "Limits",
    "Request",
    "check_request",
    "decode_body",
    "read_request",
]

Request: TypeAlias = EncodeRequest | ScoreRequest | ExtractRequest
Decoder: TypeAlias = msgspec.json.Decoder[Any] | msgspec.msgpack.Decoder[Any]

_JSON: Final[dict[Operation, Decoder]] = {
    "encode": msgspec.json.Decoder(EncodeRequest),
    "score": msgspec.json.Decoder(ScoreRequest),
    "extract": msgspec.json.Decoder(ExtractRequest),
}
_MSGPACK: Final[dict[Operation, Decoder]] = {
    "encode": msgspec.msgpack.Decoder(EncodeRequest),
    "score": msgspec.msgpack.Decoder(ScoreRequest),
    "extract": msgspec.msgpack.Decoder(ExtractRequest),
}
_MEDIA: Final = ("images", "audio", "video", "document")
_ENVELOPE_BYTES: Final = 1024
"""Room for a job's ids, revisions and times."""
_LORA_KEYS: Final = ("lora", "lora_id")
_CANNOT_BE_ENCODED: Final = (OverflowError, TypeError, ValueError, RecursionError)


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a single request may hold. Characters are counted over all its texts."""

    items_max: int
    chars_max: int
    payload_bytes_max: int


class Asked(Struct, frozen=True):
    """A request that was read.

    `item_sizes` are bytes on the queue; `fixed_size` is what each job carries beside its items.
    """

    operation: Operation
    items: tuple[Item, ...]
    item_sizes: tuple[int, ...] = ()
    fixed_size: int = 0
    query: Item | None = None
    output_types: tuple[str, ...] = ()
    output_dtype: str = "float32"
    labels: tuple[str, ...] = ()
    instruction: str | None = None
    options: dict[str, Any] = {}
    lora: str | None = None

    @property
    def total_size(self) -> int:
        """Bytes that the whole request takes on the queue."""
        return sum(self.item_sizes) + self.fixed_size


def read_request(operation: Operation, body: bytes, *, is_msgpack: bool, limits: Limits) -> Asked:
    """Decode and check a body. Raises `FixRequest`, whose `field` is a path such as
    `$.items[0].text`."""
    decoder = (_MSGPACK if is_msgpack else _JSON)[operation]
    request: Request = decode_body(decoder, body, form="MessagePack" if is_msgpack else "JSON")
    return check_request(operation, request, limits)


def check_request(operation: Operation, request: Request, limits: Limits) -> Asked:
    """Check a request that was decoded, or translated from another API. Raises `FixRequest`."""
    asked, where = _asked(operation, request)
    lora, options = _lora(asked.options, where)
    _check_contents(asked.items, asked.query, limits)
    sizes = _sizes(asked.items)
    shared = (options, asked.query, asked.labels, asked.instruction)
    fixed = _ENVELOPE_BYTES + _size(shared, where)
    if fixed > limits.payload_bytes_max:
        raise _too_large(where, fixed, limits)
    largest = max(sizes)
    if fixed + largest > limits.payload_bytes_max:
        raise _too_large(f"$.items[{sizes.index(largest)}]", fixed + largest, limits)
    return msgspec.structs.replace(
        asked, item_sizes=sizes, fixed_size=fixed, options=options, lora=lora
    )


def _asked(operation: Operation, request: Request) -> tuple[Asked, str]:
    """The request in one form, and the path of its options."""
    match request:
        case EncodeRequest(items=items, params=encode):
            asked = Asked(
                operation,
                items,
                output_types=encode.output_types,
                output_dtype=encode.output_dtype,
                instruction=encode.instruction,
                options=encode.options,
            )
            return asked, "$.params.options"
        case ScoreRequest(items=items, query=query, instruction=instruction, options=options):
            asked = Asked(operation, items, query=query, instruction=instruction, options=options)
            return asked, "$.options"
        case ExtractRequest(items=items, params=extract):
            _refuse_schema(extract.output_schema)
            asked = Asked(
                operation,
                items,
                labels=extract.labels,
                instruction=extract.instruction,
                options=extract.options,
            )
            return asked, "$.params.options"
        case _:
            assert_never(request)


def decode_body(decoder: Decoder, body: bytes, *, form: str) -> Any:
    """Decode a body. Raises `FixRequest`, which names the field."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        where, message = problem_of(error)
        raise FixRequest(f"{where}: {message}", field=where) from error
    except MALFORMED as error:
        if not body:
            raise FixRequest(f"the body is empty: {form} is wanted", field="$") from error
        raise FixRequest(f"the body is not {form} that can be read: {error}", field="$") from error


def _check_contents(items: tuple[Item, ...], query: Item | None, limits: Limits) -> None:
    if not items:
        raise FixRequest("$.items is empty: at least one item is wanted", field="$.items")
    if len(items) > limits.items_max:
        raise FixRequest(
            f"$.items has {len(items)} items; a request takes at most {limits.items_max}",
            field="$.items",
        )
    chars = 0
    for item in items if query is None else (query, *items):
        if item.text is None or item.images or item.audio or item.video or item.document:
            raise _refused(item, "$.query" if item is query else f"$.items[{items.index(item)}]")
        chars += len(item.text)
    if chars > limits.chars_max:
        raise FixRequest(
            f"the texts have {chars} characters; a request takes at most {limits.chars_max}",
            code="INPUT_TOO_LONG",
            field="$.items",
        )


def _refused(item: Item, where: str) -> FixRequest:
    for medium in _MEDIA:
        if getattr(item, medium):
            return FixRequest(
                f"{where}.{medium}: this model takes text only", field=f"{where}.{medium}"
            )
    return FixRequest(f"{where} has no content: give it a `text`", field=f"{where}.text")


def _lora(options: dict[str, Any], where: str) -> tuple[str | None, dict[str, Any]]:
    """The adapter's name, and the options without it: from here on the lane carries it."""
    if not options:
        return None, options
    names = [(key, options[key]) for key in _LORA_KEYS if options.get(key) is not None]
    rest = {key: value for key, value in options.items() if key not in _LORA_KEYS}
    if not names:
        return None, rest
    key, name = names[0]
    if not isinstance(name, str) or not name:
        raise FixRequest(f"{where}.{key}: the name of an adapter is wanted", field=f"{where}.{key}")
    if len(names) > 1 and names[1][1] != name:
        raise FixRequest(f"{where} names two adapters: give `lora` alone", field=f"{where}.lora_id")
    return name, rest


def _refuse_schema(schema: dict[str, Any] | None) -> None:
    if schema is not None:
        where = "$.params.output_schema"
        raise FixRequest(f"{where}: no backend of this cluster takes a schema", field=where)


def _sizes(items: tuple[Item, ...]) -> tuple[int, ...]:
    """Bytes of each item on the queue."""
    encode = JOB_ENCODER.encode
    try:
        return tuple([len(encode(item)) for item in items])
    except _CANNOT_BE_ENCODED:
        # Once more, to say which.
        return tuple([_size(item, f"$.items[{index}]") for index, item in enumerate(items)])


def _size(value: object, where: str) -> int:
    """Bytes on the queue: what was decoded may still be beyond what can be encoded."""
    try:
        return len(JOB_ENCODER.encode(value))
    except _CANNOT_BE_ENCODED as error:
        raise FixRequest(f"{where} cannot be queued: {error}", field=where) from error


def _too_large(where: str, size: int, limits: Limits) -> FixRequest:
    return FixRequest(
        f"{where} needs {size} bytes on the queue; at most {limits.payload_bytes_max} can be sent",
        code="PAYLOAD_TOO_LARGE",
        field=where,
    )
