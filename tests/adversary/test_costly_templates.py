"""A model's author writes a chat template that takes all memory, or a thread for ever."""

import resource
from pathlib import Path

import pytest

from sie_server.backends.score.rendering import NotRendered, rendered

PAIR = [{"role": "query", "content": "a"}, {"role": "document", "content": "b"}]
LOOP = "{% for a in range(99999) %}"
COSTLY = {
    "loops in loops": (f"{LOOP * 3}{'{% endfor %}' * 3}", "more time or memory"),
    "a long text": ("{{ 'a' * 3000000000 }}", "MemoryError"),
    "a wide number": ("{{ '%3000000000d' | format(1) }}", "MemoryError"),
    "macros of macros": (
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "recursion depth",
    ),
    "brackets": ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "recursion depth"),
    "no number": ("{{ 1 / 0 }}", "division by zero"),
    "more than any model reads": ("{{ 'a' * 2000000 }}", "1000000 characters"),
}


@pytest.mark.parametrize(("template", "reason"), COSTLY.values(), ids=COSTLY)
def test_a_template_that_may_take_all_is_not_used(template: str, reason: str) -> None:
    before, children = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, _children()
    with pytest.raises(NotRendered, match=reason):
        rendered(template, {}, [PAIR])
    # Kilobytes: nothing of it was in this process, and nobody of it is left.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 256 * 1024
    assert _children() == children


def test_a_template_of_words_is_used() -> None:
    template = "{% for each in messages %}<{{ each.role }}>{{ each.content }}{{ end }}{% endfor %}"
    assert rendered(template, {"end": "."}, [PAIR, PAIR[:1]]) == [
        "<query>a.<document>b.",
        "<query>a.",
    ]


def _children() -> set[str]:
    """Also those that have ended and were not waited for."""
    tasks = Path("/proc/self/task").iterdir()
    return {child for task in tasks for child in (task / "children").read_text().split()}
