"""Portuguese: short texts, questions on them, and translations of simple sentences to and from English."""

from dialogues import wrapped
from words import PT, VERBS
from writer import Message, Writer, capitals, english, turn

__all__ = ["portuguese", "portuguese_dialogue"]


def pt_phrase(w: Writer, definite: bool) -> tuple[str, str]:
    """Return a noun phrase in Portuguese and English."""
    gender, noun, meaning = w.one(PT["noun"])
    article = gender if definite else {"o": "um", "a": "uma"}[gender]
    there = "the" if definite else "a"
    if w.maybe(0.5):
        return f"{article} {noun}", f"{there} {meaning}"
    masculine, feminine, adjective = w.one(PT["adjective"])
    return f"{article} {noun} {masculine if gender == 'o' else feminine}", f"{there} {adjective} {meaning}"


def pt_sentence(w: Writer) -> tuple[str, str]:
    who, (past, english_past, base) = w.person(), w.one(PT["verb"])
    (portuguese, meaning), kind = pt_phrase(w, w.maybe(0.4)), w.rng.randrange(5)
    if kind < 2:
        return f"{who['n']} {past} {portuguese}.", f"{who['n']} {english_past} {meaning}."
    if kind == 2:
        infinitive = w.one([row for row in VERBS if row[2] == english_past])[0] if english_past != "showed" else "show"
        return f"{who['n']} quer {base} {portuguese}.", f"{who['n']} wants to {infinitive} {meaning}."
    gender, noun, meaning = w.one(PT["noun"])
    masculine, feminine, adjective = w.one(PT["adjective"])
    fitting = masculine if gender == "o" else feminine
    if kind == 3:
        return f"{gender} {noun} é {fitting}.", f"the {meaning} is {adjective}."
    return f"{who['n']} tem {'um' if gender == 'o' else 'uma'} {noun}.", f"{who['n']} has a {meaning}."


def portuguese(w: Writer) -> str:
    lines = [pt_sentence(w)[0] for _ in range(w.rng.randint(2, 5))]
    if w.maybe(0.3):
        day = w.one(PT["weekday"])
        lines.insert(0, w.fill(f"hoje é {day}. [está frio|está quente|o sol brilha|está chovendo]."))
    lines += [f"{line}." for line in w.rng.sample(PT["line"], w.rng.randint(0, 2))]
    return capitals(" ".join(lines))


def portuguese_dialogue(w: Writer) -> list[Message]:
    who = w.person()
    he, kind = ("ele" if who["he"] == "he" else "ela"), w.rng.randrange(7)
    (past, *_), (thing, _) = w.one(PT["verb"]), pt_phrase(w, definite=False)
    if kind < 2:
        first, second = pt_sentence(w)
        if kind:
            pair = (f"[translate to English:|how do you say this in English?] {capitals(first)}", second)
        else:
            pair = (f"[translate to Portuguese|say this in Portuguese]: {english(second)}", first)
        return wrapped(
            w,
            [
                turn("user", english(w.fill(pair[0]))),
                turn("assistant", english(pair[1]) if kind else capitals(pair[1])),
            ],
        )
    if kind == 2:
        pair = (f"{who['n']} {past} {thing}. o que {who['n']} {past}?", f"{who['n']} {past} {thing}.")
    elif kind == 3:
        job = w.one(PT["job"])
        pair = (
            f"{who['n']} trabalha como {job}. qual é a profissão de {who['n']}?",
            f"{who['n']} trabalha como {job}.",
        )
    elif kind == 4:
        first, second = w.rng.randint(0, 5), w.rng.randint(0, 5)
        pair = (f"quanto é {PT['number'][first]} mais {PT['number'][second]}?", f"é {PT['number'][first + second]}.")
    elif kind == 5:
        pair = w.one((("[oi|olá|bom dia|boa tarde]!", "olá! como posso ajudar?"), ("tudo bem?", "tudo bem, obrigado. e você?"),
                      ("obrigado!", "de nada! até logo."), ("quem é você?", "eu sou um assistente."), ("tchau!", "até logo!")))  # fmt: skip
    else:
        gender, noun, _ = w.one(PT["noun"])
        masculine, feminine, _ = w.one(PT["adjective"])
        fitting = masculine if gender == "o" else feminine
        pair = (f"{gender} {noun} de {who['n']} é {fitting}. como é {gender} {noun} {'dele' if he == 'ele' else 'dela'}?",
                f"{gender} {noun} de {who['n']} é {fitting}.")  # fmt: skip
    return [turn("user", capitals(w.fill(pair[0]))), turn("assistant", capitals(pair[1]))]
