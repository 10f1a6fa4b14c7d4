"""The layout of a model folder under a profile: the folder's word, and the profile's over it.

*shell* over one folder, which `sie_layouts` reads. What the layout refuses fails the load: a vector
is never made by half.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final, get_args

from sie_layouts.folder import FolderFiles
from sie_layouts.layout import SentenceLayout
from sie_layouts.sentence import read_sentence
from sie_layouts.steps import PoolingMode, PoolingStep, Step, TaskLayout
from sie_schemas.documents import ProfileDocument
from sie_schemas.ipc import TaskForm
from sie_server.backends.backend import load_failed
from sie_server.vectors.steps import ended

__all__ = ["LEAVE_PROMPTS_OUT", "read_layout", "told_prompts", "told_tasks"]

LEAVE_PROMPTS_OUT: Final = frozenset(
    {"hkunlp/instructor-base", "hkunlp/instructor-large", "hkunlp/instructor-xl"}
)
"""Repositories whose poolings leave the prompt out: the reference knows them by name alone."""


def read_layout(
    folder: Path, profile: ProfileDocument, *, sparse: bool, hub_name: str
) -> SentenceLayout:
    """The layout of a folder, the profile's options over it. Raises MODEL_LOAD_FAILED.

    `sparse` says that sparse vectors are wanted of it, and no others. `hub_name` is `<id>@<commit>`
    of a folder that came from a hub.
    """
    found = read_sentence(FolderFiles(folder), "sparse" if sparse else "dense")
    if found.layout is None:
        said = "; ".join(map(str, found.refusals))
        raise load_failed(f"{folder} is not run as its authors' library would run it: {said}")
    layout = found.layout
    # No file of the three repositories says it.
    if hub_name.partition("@")[0] in LEAVE_PROMPTS_OUT:
        layout = replace(
            layout, document=_without_prompt(layout.document), query=_without_prompt(layout.query)
        )
    if "pooling" in profile.options:
        mode = _pooling_option(profile)
        if not any(isinstance(step, PoolingStep) for step in (*layout.document, *layout.query)):
            raise load_failed(f"the option pooling is {mode!r}, and {folder} pools nothing")
        layout = replace(
            layout, document=_pooled(layout.document, mode), query=_pooled(layout.query, mode)
        )
    if "normalize" in profile.options:
        unit = _normalize_option(profile)
        if layout.output != "dense":
            raise load_failed(f"the option normalize is of dense vectors; it gives {layout.output}")
        layout = replace(
            layout, document=ended(layout.document, unit=unit), query=ended(layout.query, unit=unit)
        )
    return replace(layout, prompts=_prompts(folder, layout, profile))


def told_prompts(layout: SentenceLayout) -> dict[str, str]:
    """The prompts as the sidecar wants them: of queries, of documents, and of what nobody named."""
    named = {name: layout.prompts.get(name, "") for name in ("query", "document")}
    if layout.default_prompt is not None:
        named[""] = layout.prompts.get(layout.default_prompt, "")
    return {name: text for name, text in named.items() if text or layout.default_prompt is not None}


def told_tasks(tasks: TaskLayout | None, profile: ProfileDocument) -> TaskForm | None:
    """The tasks as the sidecar wants them. A profile's task is that of all texts; "" is none.

    Raises MODEL_LOAD_FAILED where it is none of the model's.
    """
    wanted = profile.options.get("task")
    known = {} if tasks is None else dict(tasks.words)
    if wanted and wanted not in known:
        told = ", ".join(known) or "none"
        raise load_failed(f"the profile's option task is {wanted!r}, and the model has {told}")
    if tasks is None:
        return None
    sides = dict(tasks.sides)
    if wanted is not None:
        sides = dict.fromkeys(("query", "document"), str(wanted))
    return TaskForm(words=known, sides=sides)


def _prompts(folder: Path, layout: SentenceLayout, profile: ProfileDocument) -> dict[str, str]:
    """The folder's prompts; the profile may choose the one of queries and that of documents."""
    chosen: dict[str, str] = {}
    for name in ("query", "document"):
        if f"{name}_prompt" not in profile.options:
            continue
        wanted = str(profile.options[f"{name}_prompt"])
        if wanted not in layout.prompts:
            raise load_failed(
                f"option {name}_prompt is {wanted!r}; {folder} has the prompts "
                f"{sorted(layout.prompts)}"
            )
        chosen[name] = layout.prompts[wanted]
    return {**layout.prompts, **chosen}


def _without_prompt(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return tuple(
        replace(step, include_prompt=False) if isinstance(step, PoolingStep) else step
        for step in steps
    )


def _pooled(steps: tuple[Step, ...], mode: PoolingMode) -> tuple[Step, ...]:
    return tuple(
        replace(step, modes=(mode,)) if isinstance(step, PoolingStep) else step for step in steps
    )


def _pooling_option(profile: ProfileDocument) -> PoolingMode:
    value = profile.options["pooling"]
    for mode in get_args(PoolingMode):
        if mode == value:
            known: PoolingMode = mode
            return known
    raise load_failed(f"option pooling is {value!r}; one of {list(get_args(PoolingMode))} is known")


def _normalize_option(profile: ProfileDocument) -> bool:
    value = profile.options["normalize"]
    if not isinstance(value, bool):
        raise load_failed(f"option normalize is {value!r}; true or false is wanted")
    return value
