"""Templates that others wrote: the text that transformers writes, and an end within limits whatever they are."""
# ruff: noqa: E501 (tables of inputs)

from time import thread_time
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from afina.data.templates.foreign import render_template
from afina.data.templates.named import make_template
from afina.errors import UsageError
from families import tokenizer

TALK = [{"role": "user", "content": "a é <b>\nc"}, {"role": "assistant", "content": "d"}]
SAME = {
    "chatml": "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}",
    "joined": "{% for m in messages %}{{ m.role ~ ': ' ~ m.content ~ none ~ 3 ~ '\n' }}{% endfor %}",
    "loops": "{% for m in messages %}{% if loop.last %}{% break %}{% endif %}{{ loop.index }}{{ m.content | trim }}{% endfor %}",
    "blocks": "  {% if true %}\n{{ messages[0].content | upper }}\n  {% endif %}\n{{- none }}{{ true }}{{ 1.5 }}{{ missing }}",
    "json": "{{ messages | tojson(indent=2) }}{{ dict(a=1) | tojson }}{{ messages[0].items() | list }}",
    "generation": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "macros": "{% macro f(m) %}[{{ m.content }}{{ caller() }}]{% endmacro %}{% call f(messages[0]) %}x{% endcall %}",
    "namespace": "{% set n = namespace(x='', k=0) %}{% for m in messages %}{% set n.x = n.x + m.content %}{% set n.k = n.k + 2 ** 3 %}"
    "{% endfor %}{{ n.x }}{{ n.k }}{% set b %}{{ n.x[::-1] }}{% endset %}{{ b }}",
    "methods": "{{ messages[0].content.split('\n') }}{{ '%s-%05d' | format('a', 3) }}{{ '{:>5}'.format('x') }}{{ 'a' * 3 }}",
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_a_template_writes_what_transformers_writes(name: str) -> None:
    theirs, _ = render_jinja_template([TALK], chat_template=SAME[name])
    values = {"messages": TALK, "tools": None, "documents": None, "add_generation_prompt": False}
    assert render_template(SAME[name], values, what="it") == theirs[0]


GROWING = "{{% set n = namespace(x='aaaaaaaa') %}}{{% for i in range(60) %}}{}{{% endfor %}}{{{{ n.x }}}}"
ENDLESS = {
    "a loop in a loop": "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = 1 %}{% endfor %}{% endfor %}",
    "a macro that calls itself twice": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "a macro without end": "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "a filter in a loop": "{% for i in range(99999) %}{{ range(99999) | sum }}{% endfor %}",
    "a text times a number": "{{ 'a' * 10000000000 }}",
    "doubled by +": GROWING.format("{% set n.x = n.x + n.x %}"),
    "doubled by ~": GROWING.format("{% set n.x = n.x ~ n.x %}"),
    "doubled by a block": GROWING.format("{% set y %}{{ n.x }}{{ n.x }}{% endset %}{% set n.x = y %}"),
    "a number squared": "{% set n = namespace(x=10) %}{% for i in range(40) %}{% set n.x = n.x * n.x %}{% endfor %}",
    "a width": "{{ 'a' | center(10000000000) }}",
    "a format": "{{ '%1000000000d' | format(1) }}",
    "another format": "{{ '{:>1000000000}'.format(1) }}",
    "a replacement": "{% set a = 'a' * 100000 %}{{ a.replace('a', a) }}",
    "a join": "{% set a = 'a' * 1000000 %}{{ range(100000) | join(a) }}",
    "a range": "{{ range(10000000000) | list }}",
    "words broken": "{{ ('a' * 1000000) | wordwrap(1) }}",
}  # fmt: skip


@pytest.mark.parametrize("name", ENDLESS)
def test_a_template_ends_whatever_it_does(name: str) -> None:
    start = thread_time()
    with pytest.raises(UsageError, match=r"^It does not end as a template should: it .*\.$"):
        render_template(ENDLESS[name], {"messages": TALK}, what="It")
    assert thread_time() - start < 2.5


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("{{ 1 / 0 }}", "fails (ZeroDivisionError: division by zero)"),
        ("{% include 'x' %}", "fails (TypeError: no loader"),
        ("{% for %}", "is no template that can be used, line 1 (TemplateSyntaxError"),
        ("{{ messages[0].a.b }}", "is no template that can be used (UndefinedError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "it calls itself too deeply"),
        ("{% for m in messages %}{{ m.content + eos_token }}{% endfor %}", "writes no roles"),
    ],
)
def test_a_template_that_fails_is_one_sentence(source: str, told: str) -> None:
    own: Any = tokenizer("llama")
    own.chat_template = source
    with pytest.raises(UsageError) as refused:
        make_template(None, own)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
