"""A model's author writes a chat template that takes all memory, or a thread for ever."""

import resource
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from sie_server.backends.score.chat_templates import NotRendered, rendered

PAIR = [{"role": "query", "content": "a"}, {"role": "document", "content": "b"}]
LOOP = "{% for a in range(99999) %}"
COSTLY = {
    "loops in loops": (f"{LOOP * 3}{'{% endfor %}' * 3}", "more than 1 s of processor time"),
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
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(NotRendered, match=reason):
        rendered(template, {}, [PAIR])
    # Kilobytes: nothing of it was in this process.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 256 * 1024


def test_a_template_of_words_is_used() -> None:
    template = "{% for each in messages %}<{{ each.role }}>{{ each.content }}{{ end }}{% endfor %}"
    assert rendered(template, {"end": "."}, [PAIR, PAIR[:1]]) == [
        "<query>a.<document>b.",
        "<query>a.",
    ]


WORDS = """
{%- set found = namespace(count=0) -%}
{% for each in messages %}
    {%- if each.role == 'document' %}{% continue %}{% endif %}
    {%- set found.count = found.count + 1 %}
    {% generation %}<{{ each.role }}>{{ each | tojson(indent=1) }}{% endgeneration %}
{% endfor %}
{{ found.count }} {{ dict(a='<ü>') | tojson }} {{ strftime_now('%%') }} {{ end }} {{ unknown }}
{% if add_generation_prompt %}{{ documents }} {{ tools }}<yes>{% endif %}
"""
"""Whatever a template of transformers may say and one of jinja may not, or says otherwise."""


def test_a_template_comes_out_as_transformers_renders_it() -> None:
    values: dict[str, Any] = {"end": "</s>", "add_generation_prompt": True}
    conversations: Any = [PAIR, PAIR[:1], [{"role": "query", "content": [{"type": "text"}]}]]
    made: Any = render_jinja_template(conversations, chat_template=WORDS, **values)
    assert rendered(WORDS, values, conversations) == made[0]
