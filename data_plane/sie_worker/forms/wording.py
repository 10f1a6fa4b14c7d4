"""Wording: the text that a model reads, from an item's text and what its author puts around it.

*pure.* A template of the request goes before one of the profile, and a template before a prompt of
the model's folder. Promises that an instruction is never dropped: where the side (query or
document) has a template without a place for it, it is refused.
"""

from collections.abc import Callable
from typing import Final

from sie_core.nearest import nearest
from sie_core.options import check_request, request_field
from sie_core.templates import INSTRUCTION, TEXT, Template, text_template
from sie_schemas.errors import FixRequest
from sie_schemas.ipc import Loaded
from sie_schemas.jobs import Job

__all__ = ["check_options", "score_wording", "side_of", "task_of", "wording"]

_TOLD_MAX: Final = 40
"""A stranger's text in a message of ours."""
_OPTIONS = {"query": "query_template", "document": "doc_template"}


def check_options(job: Job, loaded: Loaded) -> None:
    """Refuse what the model's backend does not declare, and more numbers than its vectors have.

    Raises `FixRequest`. Paths are those of our own form: which one the client used is the
    gateway's matter.
    """
    params = "$" if job.operation == "score" else "$.params"
    given = dict(job.options)
    if job.instruction is not None:
        given["instruction"] = job.instruction
    if loaded.options is not None and given:
        check_request(given, loaded.options, job.operation, model=job.model_id, params=params)
    task = job.options.get("task")
    if task and (loaded.tasks is None or task not in loaded.tasks.words):
        raise _no_task(job, loaded, str(task))
    if task and job.adapter is not None:
        raise FixRequest(
            f"{job.model_id} is asked for the adapter {job.adapter.name} and the task {task}: name "
            "one of them",
            field="$.params.options.task",
        )
    if job.dimensions is not None:
        _check_dimensions(job, loaded, job.dimensions)


def side_of(job: Job, loaded: Loaded) -> str:
    """`query` or `document`, by the request's word, or else by the model's."""
    said = job.options.get("is_query")
    if said is None:
        said = loaded.query_form is not None and loaded.query_form.by_default
    return "query" if said else "document"


def task_of(job: Job, loaded: Loaded) -> str:
    """The task of an `encode`, one of the model's own; empty where it has none.

    As with prompts, a text is a document unless the request calls it a query.
    """
    if job.operation != "encode" or loaded.tasks is None:
        return ""
    named = job.options.get("task")
    if named is not None:
        return str(named)
    if job.adapter is not None:
        # It was trained beside the bare model, and a request that names it names no task.
        return ""
    return loaded.tasks.sides.get(side_of(job, loaded), "")


def wording(job: Job, loaded: Loaded) -> Callable[[str], str]:
    """A text of an `encode` as the model reads it; those of another operation stay as they are."""
    if job.operation != "encode":
        return str
    side = side_of(job, loaded)
    source = job.options.get(_OPTIONS[side]) or loaded.templates.get(side)
    if source is not None:
        return _filled(text_template(source), job, loaded, side, job.instruction)
    other = "document" if side == "query" else "query"
    told = job.options.get(_OPTIONS[other]) or loaded.templates.get(other)
    if job.instruction is not None and told is not None and f"{{{INSTRUCTION}}}" in told:
        raise _placeless(job, side, f"only a {other}'s has one: say `is_query`")
    prefix = _prompt(job, loaded, side) if job.instruction is None else job.instruction
    return lambda text: prefix + text


def score_wording(job: Job, loaded: Loaded, side: str) -> Callable[[str], str]:
    """The query, or a document, of a `score` as the model reads it. It stands in the profile's
    template of that side, else behind the model's own words. An instruction is the query's."""
    instruction = job.instruction if side == "query" else None
    source = loaded.templates.get(side)
    if source is not None:
        return _filled(text_template(source), job, loaded, side, instruction)
    if loaded.texts:
        own = loaded.prompts.get(side, "")
    else:
        own = loaded.instruction if side == "query" else ""
    prefix = own if instruction is None else instruction
    return lambda text: prefix + text


def _prompt(job: Job, loaded: Loaded, side: str) -> str:
    """The model's own prompt: a text is a document unless the request calls it a query.

    A model may have a prompt of its own for a text of which the request says neither.
    """
    if loaded.tasks is not None:
        return loaded.tasks.words.get(task_of(job, loaded), "")
    if "is_query" not in job.options and "" in loaded.prompts:
        return loaded.prompts[""]
    return loaded.prompts.get(side, "")


def _filled(
    template: Template, job: Job, loaded: Loaded, side: str, instruction: str | None
) -> Callable[[str], str]:
    if INSTRUCTION not in template.names:
        if instruction is not None:
            raise _placeless(job, side, "leave it out, or give a template of your own")
        return lambda text: template.filled({TEXT: text})
    if instruction is None:
        instruction = loaded.templates.get(INSTRUCTION)
    if instruction is None:
        raise FixRequest(
            f"$.params.instruction: the template of a {side} of {job.model_id} wants an "
            "instruction, and its profile has no default_instruction",
            field="$.params.instruction",
        )
    told = instruction
    return lambda text: template.filled({TEXT: text, INSTRUCTION: told})


def _placeless(job: Job, side: str, cure: str) -> FixRequest:
    where = request_field("$.params", "instruction")
    return FixRequest(
        f"{where}: the template of a {side} of {job.model_id} has no place for an instruction; "
        f"{cure}",
        field=where,
    )


def _no_task(job: Job, loaded: Loaded, task: str) -> FixRequest:
    where = request_field("$.params", "task")
    words = {} if loaded.tasks is None else loaded.tasks.words
    known = ", ".join(words)
    meant = nearest(task, words)
    hint = f"; did you mean {meant!r}?" if meant else ""
    return FixRequest(
        f"{where}: {job.model_id} has {f'the tasks {known}' if known else 'no tasks'}, not "
        f"{task[:_TOLD_MAX]!r}{hint}",
        field=where,
    )


def _check_dimensions(job: Job, loaded: Loaded, wanted: int) -> None:
    widths = {
        output: width
        for output in job.output_types
        if output != "sparse" and (width := loaded.dims.get(output))
    }
    for output, width in widths.items():
        if wanted > width:
            where = request_field("$.params", "dimensions")
            raise FixRequest(
                f"{where}: {output} vectors of {job.model_id} have {width} numbers, not {wanted}: "
                f"from 1 to {width} can be kept",
                field=where,
            )
