"""Options, checked against what is declared: never passed over.

*pure.* Refuses a name that is not declared or stands in the wrong place, and a value of another
type or outside its range. The refusal gives the nearest right name, or all that may stand there.
The same check serves a request and a profile, early at the edge and again before the device.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sie_core.nearest import nearest
from sie_core.pair_templates import PAIR_TEMPLATES, pair_template
from sie_core.templates import INSTRUCTION, text_template
from sie_schemas.errors import FixRequest
from sie_schemas.ipc import Option
from sie_schemas.items import Operation

__all__ = ["check_request", "declared_at", "profile_problems", "request_field"]

_PARAMETERS: Final = frozenset({"instruction", "dimensions"})
"""Options that a request may also say beside `options`."""
_TEXT_MAX: Final = 8192
"""An instruction of two pages; an option is no place for documents."""
_TEMPLATES: Final = ("query_template", "doc_template")
_PAIR_TEMPLATE: Final = "pair_template"
_CHOSEN: Final = {"query_prompt": "query_template", "document_prompt": "doc_template"}
"""Two words of a profile for what stands around one text."""
_BESIDE: Final[Mapping[str, str]] = {
    "profile": "a profile is named with the model: `model:profile`",
    "output_types": "it is a parameter beside `options`",
    "output_dtype": "it is a parameter beside `options`",
    "labels": "it is a parameter beside `options`",
    "output_schema": "it is a parameter beside `options`",
}
_TOLD_MAX: Final = 40
"""A stranger's text in a message of ours."""


def declared_at(
    declared: Sequence[Option], operation: Operation | None = None
) -> dict[str, Option]:
    """The options that may stand in a request for an operation, or in a profile (None)."""
    return {
        option.name: option
        for option in declared
        if (
            option.in_profile
            if operation is None
            else option.in_request and (not option.operations or operation in option.operations)
        )
    }


def request_field(params: str, name: str) -> str:
    """The path of an option in a request whose parameters are at `params`."""
    return f"{params}.{name}" if name in _PARAMETERS else f"{params}.options.{name[:_TOLD_MAX]}"


def check_request(
    given: Mapping[str, Any],
    declared: Sequence[Option],
    operation: Operation,
    *,
    model: str,
    params: str = "$",
    other_names: bool = False,
) -> None:
    """Refuse options that a model does not take. Raises `FixRequest`, which names the field.

    `other_names`: names that are not declared are somebody else's to check.
    """
    allowed = declared_at(declared, operation)
    for name, value in given.items():
        option = allowed.get(name)
        if option is None:
            if other_names and not any(each.name == name for each in declared):
                continue
            problem = f"{model} takes no option {name[:_TOLD_MAX]!r} for {operation}; " + _advice(
                name, declared, allowed
            )
        else:
            problem = _problem(option, value) if value is not None else ""
        if problem:
            where = request_field(params, name)
            raise FixRequest(f"{where}: {problem}", field=where)


def profile_problems(
    given: Mapping[str, Any], declared: Sequence[Option], *, backend: str
) -> Iterator[tuple[str, str]]:
    """The name of each option of a profile that is amiss, and why."""
    allowed = declared_at(declared)
    for name, value in given.items():
        option = allowed.get(name)
        if option is None:
            advice = _profile_advice(name, declared, allowed)
            yield name, f"the backend {backend} has no option {name[:_TOLD_MAX]!r}; {advice}"
        elif problem := _problem(option, value):
            yield name, problem
    for prompt, template in _CHOSEN.items():
        if prompt in given and template in given:
            yield prompt, f"the profile's {template} stands in its place: leave one of them out"
    if "default_instruction" in given and not _has_place(given):
        yield "default_instruction", "no template of this profile has a place {instruction}"


def _has_place(given: Mapping[str, Any]) -> bool:
    """True if a template of a profile has a place for an instruction."""
    named = PAIR_TEMPLATES.get(str(given.get(_PAIR_TEMPLATE)))
    sources = [str(given.get(name, "")) for name in (*_TEMPLATES, _PAIR_TEMPLATE)]
    sources += [] if named is None else [part.template for part in named.form.parts]
    return any(f"{{{INSTRUCTION}}}" in source for source in sources)


def _advice(name: str, declared: Sequence[Option], allowed: Mapping[str, Option]) -> str:
    if name in _BESIDE:
        return _BESIDE[name]
    for option in declared:
        if option.name == name and option.in_request:
            return f"that is for {' and '.join(option.operations)}"
        if option.name == name:
            return "it is set in a profile, not in a request; " + _listed(allowed)
    meant = nearest(name, allowed)
    return f"did you mean {meant!r}?" if meant else _listed(allowed)


def _profile_advice(name: str, declared: Sequence[Option], allowed: Mapping[str, Option]) -> str:
    if any(option.name == name for option in declared):
        return "it is set in a request, not in a profile; " + _listed(allowed)
    meant = nearest(name, allowed)
    return f"did you mean {meant!r}?" if meant else _listed(allowed)


def _listed(allowed: Mapping[str, Option]) -> str:
    return f"it takes {', '.join(sorted(allowed))}" if allowed else "it takes none"


def _problem(option: Option, value: Any) -> str:
    """The reason why a value is not the option's; empty where it is."""
    match option.kind:
        case "flag":
            return "" if isinstance(value, bool) else _wanted(option, "true or false", value)
        case "text":
            return _text_problem(option, value)
        case "whole":
            is_number = isinstance(value, int) and not isinstance(value, bool)
        case _:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            is_number = is_number and math.isfinite(value)
    least = -math.inf if option.least is None else option.least
    most = math.inf if option.most is None else option.most
    if is_number and least <= value <= most:
        return ""
    return _wanted(option, _range(option), value)


def _text_problem(option: Option, value: Any) -> str:
    if not isinstance(value, str):
        return _wanted(option, "a text", value)
    if option.choices and value not in option.choices:
        meant = nearest(value, option.choices)
        return _wanted(option, "one of " + ", ".join(option.choices), value) + (
            f"; did you mean {meant!r}?" if meant else ""
        )
    if len(value) > _TEXT_MAX:
        return f"the option {option.name} has {len(value)} characters; it takes {_TEXT_MAX}"
    if option.name in _TEMPLATES or option.name == _PAIR_TEMPLATE:
        try:
            _ = text_template(value) if option.name in _TEMPLATES else pair_template(value)
        except FixRequest as error:
            return f"the option {option.name}: {error.message}"
    return ""


def _range(option: Option) -> str:
    what = "a whole number" if option.kind == "whole" else "a number"
    if option.least is not None and option.most is not None:
        return f"{what} from {option.least:g} to {option.most:g}"
    if option.least is not None:
        return f"{what} of at least {option.least:g}"
    return what if option.most is None else f"{what} of at most {option.most:g}"


def _wanted(option: Option, wanted: str, value: Any) -> str:
    return f"the option {option.name} is {wanted}, not {_shown(value)}"


def _shown(value: Any) -> str:
    if isinstance(value, str | int | float | bool) or value is None:
        return repr(value)[:_TOLD_MAX]
    return f"a {type(value).__name__}"
