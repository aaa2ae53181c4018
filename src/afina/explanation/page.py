"""Lay out explanations as one self-contained HTML page: words coloured by what they added, adapters side by side."""

from collections.abc import Sequence
from html import escape

from afina.explanation.explained import Explained, ExplainedText
from afina.explanation.faithful import Faithfulness
from afina.measure.bootstrap import Estimate
from afina.words.language import Words

__all__ = ["explained_page", "faithful_words"]

# Blue for what spoke for the answer and orange for what spoke against it, which no form of colour blindness mixes up.
_STYLE = """
:root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--soft:#5b6570;--line:#d9dee3;--warn:#8a4b00;--for:38,110,220;
--against:222,110,10;--card:#f7f9fa}
@media(prefers-color-scheme:dark){:root{--page:#14181d;--ink:#e6e9ec;--soft:#9aa5b0;--line:#323a43;--warn:#ffc46b;
--for:64,140,255;--against:240,130,30;--card:#1a2027}}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.6 system-ui,sans-serif}
main{max-width:1180px;margin:0 auto;padding:24px 20px 60px}h1{font-size:1.5rem;margin:0}.soft{color:var(--soft)}
h2{font-size:1.05rem;margin:30px 0 10px;padding-top:12px;border-top:1px solid var(--line);overflow-wrap:anywhere}
h3{font-size:.95rem;margin:0 0 4px;overflow-wrap:anywhere}p{margin:6px 0}.warn{color:var(--warn)}
.side{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:16px}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 14px;min-width:0}
.text{overflow-wrap:anywhere;white-space:pre-wrap;line-height:1.9}
.text span{border-radius:3px;padding:1px 2px;box-decoration-break:clone}
.f{background:rgba(var(--for),var(--a))}.g{background:rgba(var(--against),var(--a));text-decoration:underline dotted 1px}
.small{font-size:.86rem;color:var(--soft)}.key span{padding:1px 8px;border-radius:3px;--a:.5;margin-right:6px}
"""


def explained_page(all_of: Sequence[Explained], language: str = "en") -> str:
    """Return the whole HTML document; everything that is a person's or a model's is escaped."""
    words = Words(language)
    title = words("Which words decided")
    first = all_of[0]
    parts = [
        f"<h1>{title}</h1>",
        f"<p class=key><span class=f>{words('for')}</span><span class=g>{words('against')}</span></p>",
        f"<p class=small>{escape(_told(first, words))}</p>",
    ]
    for one in all_of:
        heading = f"<h3>{escape(one.adapter)} · {escape(one.method)}</h3>" if len(all_of) > 1 else ""
        lines = [f"<p>{escape(line)}</p>" for line in faithful_words(one.faithfulness, words)]
        notes = [f"<p class=warn>{escape(words.sentence(note))}</p>" for note in one.notes]
        parts.append(heading + "".join(lines + notes))
    for number in range(max(len(one.texts) for one in all_of)):
        there = [(one, one.texts[number]) for one in all_of if number < len(one.texts)]
        # One scale for all that stand side by side, or colours could not be compared.
        most = max((abs(value) for _, text_entry in there for value in _all(text_entry)), default=1.0) or 1.0
        cards = "".join(_card(one, text_entry, most, words, several=len(all_of) > 1) for one, text_entry in there)
        parts.append(f"<h2>{words('Text {number}', number=number + 1)}</h2><div class=side>{cards}</div>")
    return (
        f'<!doctype html>\n<html lang="{words("en")}"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1"><title>{title}</title><style>{_STYLE}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def faithful_words(checked: Faithfulness | None, words: Words) -> list[str]:
    """Return the sentences that say whether an explanation is so."""
    if checked is None:
        return [words("A text of one word has nothing to compare with: its whole score is that word's.")]
    verdict = {
        True: "So the coloured words do decide here.",
        False: "So the coloured words decide no more than others would: do not read them as reasons.",
        None: "So it cannot be told here whether the coloured words decide more than others.",
    }[checked.holds]
    taken = words(
        "Taking away the words of largest value lowers the score by {own}, as many drawn words by {drawn}: {gain} more "
        "(95% interval {low} to {high}).",
        **_gain(checked.comprehensiveness, checked.random_comprehensiveness, checked.comprehensiveness_gain, words),
    )
    left = words(
        "The words of largest value alone leave {own} of the score missing, as many drawn words {drawn}: {gain} less "
        "(95% interval {low} to {high}).",
        **_gain(checked.sufficiency, checked.random_sufficiency, checked.sufficiency_gain, words),
    )
    return [taken, left, words(verdict)]


def _gain(text_entry: float, drawn: float, gain: Estimate, words: Words) -> dict[str, str]:
    bounds = {"low": gain.low, "high": gain.high}
    return {
        "own": words.number(text_entry, 2), "drawn": words.number(drawn, 2), "gain": words.signed(gain.value, 2),
        **{name: "–" if value is None else words.signed(value, 2) for name, value in bounds.items()},
    }  # fmt: skip


def _told(one: Explained, words: Words) -> str:
    return words(
        "Values are {told}, in nats of the answer's log-odds (numbers: in deviations; next words: of log-probability). A "
        "word that is taken away gives way to {token}.",
        told=words(one.told), token=one.baseline,
    )  # fmt: skip


def _all(text: ExplainedText) -> list[float]:
    return [*text.values, *(text.base_values or ())]


def _card(one: Explained, text: ExplainedText, most: float, words: Words, *, several: bool) -> str:
    answer = words("{answer} for '{word}'", answer=text.answer, word=text.about) if text.about else text.answer
    sure = "" if text.probability is None else f" · {words.number(100 * text.probability, 1)}%"
    facts = [
        words(
            "score {score}, {baseline} without words",
            score=words.signed(text.score, 2),
            baseline=words.signed(text.baseline, 2),
        )
    ]
    # Colours are as strong in a text whose words count for little as in one that hangs on them.
    facts.append(
        words("no word counts for more than {most}", most=words.number(max(map(abs, _all(text)), default=0.0), 2))
    )
    if text.missing:
        facts.append(words("the words' values lack {missing} of it", missing=words.signed(text.missing, 3)))
    if text.moved is not None:
        facts.append(words(
            "{points} points on the way, with half of which no word's value differs by more than {moved}",
            points=text.points, moved=words.number(text.moved, 3),
        ))  # fmt: skip
    if text.error is not None:
        facts.append(words("standard error of a value at most {error}", error=words.number(text.error, 2)))
    shown = [f"<h3>{escape(answer)}{sure}</h3>"]
    if several:
        shown.append(f"<p class=small>{escape(one.adapter)}</p>")
    shown.append(_coloured(text, text.values, most, words))
    if text.base_values is not None:
        change = tuple(text_entry - base for text_entry, base in zip(text.values, text.base_values, strict=True))
        shown += [
            f"<p class=small>{words('base')}</p>", _coloured(text, text.base_values, most, words),
            f"<p class=small>{words('the adapter less the base')}</p>", _coloured(text, change, most, words),
        ]  # fmt: skip
    return f"<div class=card>{''.join(shown)}<p class=small>{escape(', '.join(facts))}</p></div>"


def _coloured(text: ExplainedText, values: Sequence[float], most: float, words: Words) -> str:
    parts = []
    for number, text_entry in enumerate(text.texts):
        place, line = 0, []
        for word, value in zip(text.words, values, strict=True):
            if word.part != number:
                continue
            share = min(1.0, abs(value) / most)
            line.append(escape(text_entry[place : word.start]))
            line.append(
                f'<span class={"f" if value >= 0 else "g"} style="--a:{0.75 * share:.3f}" '
                f'title="{escape(words.signed(value, 3))}">{escape(text_entry[word.start : word.end])}</span>'
            )
            place = word.end
        parts.append(f"<p class=text>{''.join(line)}{escape(text_entry[place:])}</p>")
    return "".join(parts)
