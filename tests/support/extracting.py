"""One batch of `extract`, as a sidecar would ask it of a backend.

*device.* Options and labels are given as they are; whoever wants them checked checks before.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from sie_schemas import ipc
from sie_server.backends.backend import Backend

_Answers = TypeVar("_Answers", ipc.EntityAnswers, ipc.ClassAnswers)


def extracted(
    told: type[_Answers],
    backend: Backend,
    inputs: Iterable[str | ipc.Input],
    labels: Iterable[str] = (),
    options: Mapping[str, Any] | None = None,
) -> _Answers:
    """The answers, which must be of the kind that is told. A string is a text."""
    batch = ipc.RunBatch(
        id=1,
        model_revision="r1",
        operation="extract",
        inputs=tuple(ipc.TextInput(each) if isinstance(each, str) else each for each in inputs),
        labels=tuple(labels),
        options=dict(options or {}),
    )
    answers = backend.run(batch)
    assert isinstance(answers, told)
    return answers
