"""Tracing: spans for OpenTelemetry where somebody collects them, and nothing where nobody does.

*shell.* Owns the decision of what is traced. It is on where `OTEL_EXPORTER_OTLP_ENDPOINT` names a
collector; the library is imported then and not before. Promises that an untraced request costs a
comparison and at most one random number. A request which comes with a trace keeps it; whether it
is sampled there decides, where the sampler says `parentbased`. No request waits for the collector.
The variables are OpenTelemetry's own. `tracestate` and `baggage` are read by nobody.
"""

import importlib
import os
import random
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Final

from sie_runtime.process.spans import Attribute, Collector, Kind, Parent, Span
from sie_schemas.errors import FixRequest

__all__ = [
    "begin_or_exit",
    "begin_span",
    "begin_traces",
    "end_traces",
    "inner_span",
    "known_trace",
    "name_task",
    "task_names",
    "task_span",
    "task_trace",
    "trace_id_of",
]

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_SHARES: Final = {"always_on": 1.0, "always_off": 0.0}
_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_VERSION: Final = "00"
"""The one that is written. What a later one adds behind is left out, as W3C has it."""
_HALF: Final = 16
"""OpenTelemetry samples by the latter half of a trace's id."""
_ALL: Final = 1 << 4 * _HALF
"""As many halves there are: the bound of a sampler that takes all."""


class _Traces:
    """The collector, None where there is none. A trace is sampled whose id's latter half is below
    `bound`; with `by_parent` only one that begins here, and of others their caller decides."""

    collected: Collector | None = None
    bound = 0
    by_parent = True


_TRACES: Final = _Traces()
_OF_TASK: ContextVar[tuple[str, str] | None] = ContextVar("sie_request", default=None)
"""Request id and traceparent of what a task is about."""


def begin_traces(*, role: str, process_id: str, environ: Mapping[str, str] = os.environ) -> None:
    """Send spans of this process to the collector that the environment names, if it names one.

    Raises `FixRequest` where the library is not installed, or a sampler is none.
    """
    if not any(environ.get(name) for name in _ENDPOINTS):
        return
    by_parent, share = _sampler(environ)
    try:
        found = importlib.import_module("sie_runtime.process.collected_spans")
    except ImportError as error:
        raise FixRequest(
            f"a collector of traces is named, and {error.name} is not installed: "
            "pip install 'sie-cluster[traces]', or unset OTEL_EXPORTER_OTLP_ENDPOINT"
        ) from error
    # As OpenTelemetry rounds it: a service beside us decides alike on the same trace.
    bound = round(share * _ALL)
    _TRACES.collected = found.Collected(role=role, process_id=process_id, bound=bound)
    _TRACES.bound, _TRACES.by_parent = bound, by_parent


def begin_or_exit(*, role: str, process_id: str) -> None:
    """For a `main`: what cannot be is printed as one line, and exits with 2."""
    try:
        begin_traces(role=role, process_id=process_id)
    except FixRequest as error:
        sys.stderr.write(f"error: {error.message}\n")
        raise SystemExit(2) from error


def end_traces() -> None:
    """Send what is left. At the end of a process."""
    if _TRACES.collected is not None:
        _TRACES.collected.end()
        _TRACES.collected = None


def known_trace(header: bytes | None) -> str:
    """The `traceparent` of a request as it is handed on; empty where it is none."""
    if header is None:
        return ""
    found = _read(header.decode("latin-1").strip())
    return f"{_VERSION}-{'-'.join(found)}" if found is not None else ""


def trace_id_of(traceparent: str) -> str:
    """The trace that it names; empty where it names none."""
    found = _read(traceparent)
    return found[0] if found is not None else ""


def name_task(request_id: str, traceparent: str) -> None:
    """Say which request this task is about, and whatever it begins. Its log lines bear both ids."""
    _OF_TASK.set((request_id, traceparent))


def task_names() -> tuple[str, str]:
    """The request id and the trace id of this task; empty where it is about none."""
    named = _OF_TASK.get()
    return (named[0], trace_id_of(named[1])) if named is not None else ("", "")


def task_trace() -> str:
    """The traceparent of what this task is about, where somebody collects; else empty."""
    named = _OF_TASK.get() if _TRACES.collected is not None else None
    return named[1] if named is not None else ""


_UNTRACED: Final = nullcontext()
"""Around what is not traced, which is nearly all; a generator would cost four times as much."""


def inner_span(name: str) -> AbstractContextManager[Span | None]:
    """A span around a part of what this task is about; none where that is not traced."""
    parent = task_trace()
    return _ended(begin_span(name, "internal", parent=parent)) if parent else _UNTRACED


@contextmanager
def task_span(name: str, request_id: str, parent: str) -> Iterator[None]:
    """A span of a request that this task works for meanwhile; nothing where that has no trace."""
    if not parent:
        yield
        return
    with _ended(begin_span(name, "internal", parent=parent)) as span:
        token = _OF_TASK.set((request_id, span.traceparent if span is not None else parent))
        try:
            yield
        finally:
            _OF_TASK.reset(token)


@contextmanager
def _ended(span: Span | None) -> Iterator[Span | None]:
    failed = ""
    try:
        yield span
    except BaseException as error:
        failed = getattr(error, "code", "") or type(error).__name__
        raise
    finally:
        if span is not None:
            span.end(failed)


def begin_span(
    name: str,
    kind: Kind,
    *,
    parent: str = "",
    links: Sequence[Span] = (),
    may_begin: bool = False,
    attributes: Mapping[str, Attribute] | None = None,
) -> Span | None:
    """Begin a span below `parent`, a traceparent; None where nothing is traced.

    Without a parent it begins a trace of its own, where it may, for the share that is sampled.
    """
    collected = _TRACES.collected
    if collected is None:
        return None
    above: Parent | None = None
    if parent:
        above = _read(parent)
        if above is None or not _samples(above):
            return None
    elif not may_begin or random.getrandbits(4 * _HALF) >= _TRACES.bound:
        # The collector draws the id of one that begins from those below the bound.
        return None
    linked = [found for each in links if (found := _read(each.traceparent)) is not None]
    return collected.begin(name, kind, above, linked, attributes or {})


def _samples(above: Parent) -> bool:
    trace_id, _, flags = above
    if _TRACES.by_parent:
        return bool(int(flags, 16) & 1)
    return int(trace_id[_HALF:], 16) < _TRACES.bound


def _read(traceparent: str) -> Parent | None:
    found = _FORM.fullmatch(traceparent)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == _VERSION and more):
        return None
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return trace_id, span_id, flags


def _sampler(environ: Mapping[str, str]) -> tuple[bool, float]:
    """The sampler, as OpenTelemetry names it: whether a trace that came decides, and the share."""
    sampler = environ.get("OTEL_TRACES_SAMPLER") or "parentbased_always_on"
    kind = sampler.removeprefix("parentbased_")
    by_parent = kind != sampler
    if kind in _SHARES:
        return by_parent, _SHARES[kind]
    told = environ.get("OTEL_TRACES_SAMPLER_ARG", "1")
    try:
        share = float(told)
    except ValueError:
        share = -1.0
    if kind != "traceidratio" or not 0 <= share <= 1:
        raise FixRequest(
            f"OTEL_TRACES_SAMPLER={sampler} with OTEL_TRACES_SAMPLER_ARG={told} is no sampler: "
            "parentbased_traceidratio with a share from 0 to 1, parentbased_always_on or "
            "parentbased_always_off"
        )
    return by_parent, share
