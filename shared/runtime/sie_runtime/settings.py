"""Settings: one frozen dataclass for each process, read once in `main`.

*shell.* A field comes from its flag, else from its environment variable, else from its default:
`port` of prefix `SIE_GATEWAY` is `--port` and `SIE_GATEWAY_PORT`. An unknown flag, an unknown
variable with the prefix and a value that cannot be each stop the process at start. One line names
them: a mistyped setting is never ignored, and only what clients read is passed over. Numbers are
finite and not below 0, and a field whose name ends in `port` is a port. Relations between fields
are checked by the class itself, in `__post_init__` (raise `ValueError`).
"""

import dataclasses
import difflib
import math
import os
import re
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import (
    Any,
    Final,
    Literal,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)
from urllib.parse import urlsplit

from sie_schemas.errors import without_password

__all__ = [
    "CLIENT_VARIABLES",
    "LogLevel",
    "SettingsError",
    "constant",
    "is_constant",
    "load",
    "parse",
    "require_id",
    "setting",
]

T = TypeVar("T")
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

CLIENT_VARIABLES: Final = frozenset(
    {
        "SIE_ACTOR",
        "SIE_API_KEY",
        "SIE_BASE_URL",
        "SIE_CA_FILE",
        "SIE_CLIENT_CERT_FILE",
        "SIE_CLIENT_KEY_FILE",
        "SIE_CONFIG_TOKEN",
        "SIE_CONTEXT",
        "SIE_CONFIG_URL",
        "SIE_NATS_PASSWORD",
        "SIE_NATS_USER",
        "SIE_PYTHON",
    }
)
"""Variables that clients read, whatever process runs beside them. Some begin like the settings of a
process (`SIE_CONFIG_URL` beside `SIE_CONFIG_PORT`): whoever refuses an unknown one has to know
them."""
_PORT_MAX: Final = 65_535
"""The last port of TCP."""
_HTTP: Final = (frozenset({"http", "https"}), "http://HOST:PORT or https://HOST:PORT")
_NATS: Final = (frozenset({"nats", "tls", "ws", "wss"}), "nats://HOST:4222 or tls://HOST:4222")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class SettingsError(ValueError):
    """The settings cannot be used; the message is one line for the operator."""


def setting(default: Any = dataclasses.MISSING, *, help: str) -> Any:
    """A field with its documentation: unit, reason for the default, how to turn it off."""
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata={"help": help})
    return dataclasses.field(default=default, metadata={"help": help})


def constant(default: Any, *, help: str) -> Any:
    """A field that no operator has a reason to turn, with what it is.

    It is taken as a setting is, so that a test of real processes can give milliseconds. Help and
    manual leave it out; `--help-all` does not.
    """
    return dataclasses.field(default=default, metadata={"help": help, "constant": True})


def is_constant(field: "dataclasses.Field[Any]") -> bool:
    """True if a field is none of the operator's."""
    return bool(field.metadata.get("constant"))


def load(
    cls: type[T],
    *,
    prefix: str,
    argv: Sequence[str] | None = None,
) -> T:
    """`parse`, for a `main`: an error is printed as one line and the process exits with 2."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    asked = {"--help", "-h", "--help-all"}.intersection(arguments)
    if asked:
        sys.stdout.write(_usage(cls, prefix, constants="--help-all" in asked))
        raise SystemExit(0)
    try:
        return parse(cls, prefix=prefix, argv=arguments, environ=os.environ)
    except SettingsError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from error


def parse(cls: type[T], *, prefix: str, argv: Sequence[str], environ: Mapping[str, str]) -> T:
    """Build the settings. Raises `SettingsError`."""
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    texts = _from_environment(prefix, fields, environ) | _from_flags(fields, hints, argv)
    values: dict[str, Any] = {}
    for name, (origin, text) in texts.items():
        values[name] = _convert(hints[name], text, origin)
        _require_possible(name, values[name], origin)
        if name.endswith("_url"):
            _require_address(name, str(values[name]), origin, required=bool(fields[name].default))
    missing = [
        name
        for name, field in fields.items()
        if name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        flag = missing[0].replace("_", "-")
        raise SettingsError(f"--{flag} (or {prefix}_{missing[0].upper()}) is wanted")
    try:
        return cls(**values)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def require_id(name: str, value: str) -> None:
    """Refuse what cannot be one part of a subject on the broker. Raises `ValueError`."""
    if not _ID.fullmatch(value):
        raise ValueError(f"{name} is 1 to 64 letters, digits, `-` or `_`, not {value!r}")


def _from_environment(
    prefix: str, fields: Mapping[str, Any], environ: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    found = {}
    for variable, text in environ.items():
        if not variable.startswith(f"{prefix}_"):
            continue
        name = variable.removeprefix(f"{prefix}_").lower()
        if name not in fields:
            if variable in CLIENT_VARIABLES:
                continue
            known = [f"{prefix}_{field.upper()}" for field in fields]
            known += [each for each in CLIENT_VARIABLES if each.startswith(f"{prefix}_")]
            raise SettingsError(f"{variable} is not a setting{_closest(variable, known)}")
        found[name] = (variable, text)
    return found


def _from_flags(
    fields: Mapping[str, Any], hints: Mapping[str, Any], argv: Sequence[str]
) -> dict[str, tuple[str, str]]:
    found = {}
    pending = list(argv)
    while pending:
        argument = pending.pop(0)
        flag, separator, text = argument.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if not flag.startswith("--") or name not in fields:
            known = ["--" + field.replace("_", "-") for field in fields]
            raise SettingsError(f"{argument} is not a setting{_closest(flag, known)}")
        if not separator:
            if hints[name] is bool and (not pending or pending[0].startswith("--")):
                text = "true"
            elif pending:
                text = pending.pop(0)
            else:
                raise SettingsError(f"{flag} wants a value")
        found[name] = (flag, text)
    return found


def _closest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _convert(hint: Any, text: str, origin: str) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        options = [option for option in get_args(hint) if option is not type(None)]
        return None if text == "" else _convert(options[0], text, origin)
    if get_origin(hint) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if get_origin(hint) is Literal:
        if text.lower() not in get_args(hint):
            raise SettingsError(f"{origin}: {text!r} is none of {', '.join(get_args(hint))}")
        return text.lower()
    if hint is bool:
        if text.lower() not in {"true", "false", "1", "0", "yes", "no"}:
            raise SettingsError(f"{origin}: {text!r} is not true or false")
        return text.lower() in {"true", "1", "yes"}
    try:
        return hint(text) if hint is not Path else Path(text)
    except ValueError as error:
        raise SettingsError(f"{origin}: {text!r} is not of type {hint.__name__}") from error


def _require_possible(name: str, value: Any, origin: str) -> None:
    if isinstance(value, int | float) and not (math.isfinite(value) and value >= 0):
        raise SettingsError(f"{origin}: {value} is not a number from 0 on")
    if name.endswith("port") and value > _PORT_MAX:
        raise SettingsError(f"{origin}: {value} is no port: the last is {_PORT_MAX}")


def _require_address(name: str, text: str, origin: str, *, required: bool) -> None:
    """Refuse what no client can connect to. One that may be absent is absent by default."""
    if not text.strip(" ,"):
        if required:
            raise SettingsError(f"{origin} is empty: give an address, or leave it out")
        return
    schemes, example = _NATS if name == "nats_url" else _HTTP
    # The client of the broker takes an address without its scheme.
    for one in text.split(",") if name == "nats_url" else [text]:
        shown = without_password(one.strip())
        whole = one.strip() if "://" in one or name != "nats_url" else f"nats://{one.strip()}"
        try:
            parts = urlsplit(whole)
            sound = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:
            sound = False
        if not sound:
            raise SettingsError(f"{origin}: {shown!r} is no address as {example}")


def _usage(cls: type[Any], prefix: str, *, constants: bool) -> str:
    lines = [(cls.__doc__ or "").strip(), ""]
    shown = [field for field in dataclasses.fields(cls) if constants or not is_constant(field)]
    for field in shown:
        default = "" if field.default is dataclasses.MISSING else f" (default: {field.default})"
        lines.append(f"  --{field.name.replace('_', '-')}{default}")
        lines.append(f"      {field.metadata.get('help', '')} [{prefix}_{field.name.upper()}]")
    left_out = len(dataclasses.fields(cls)) - len(shown)
    if left_out:
        lines.append(f"\n{left_out} constants that need no turning: --help-all")
    return "\n".join(lines) + "\n"
