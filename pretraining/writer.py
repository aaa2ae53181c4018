"""The hand that writes: one document's draws of words, names and phrases, and how English sentences are put right."""

import random
import re

from words import ADJECTIVES, LISTS, NAMES, SYLLABLES, VERBS

__all__ = ["Document", "Message", "Writer", "capitals", "english", "invented", "turn"]

Message = dict[str, str]
"""`role` (system, user or assistant) and `content`."""
Document = str | list[Message]


def english(text: str) -> str:
    """Put `a` or `an` right, and capitals where sentences begin."""
    text = re.sub(r"\b([Aa]) (?!us|uni)(?=[aeiouAEIOU])", r"\1n ", text)
    return capitals(text)


def capitals(text: str) -> str:
    """Begin sentences and quotations with a capital; what follows a quoted question or cry may be `said Ana`."""
    return re.sub(r'((?:^|[.!?]\s+|\."\s+|\n)"?|\s")([a-zà-ú])', lambda match: match[1] + match[2].upper(), text)


class Writer:
    """One document's draws."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def one(self, items):
        return self.rng.choice(items)

    def maybe(self, chance: float) -> bool:
        return self.rng.random() < chance

    def fill(self, text: str, **slots: str) -> str:
        """Choose in [one|of|several], innermost first, and put words into {slots}: given ones, else from `LISTS`."""
        while (match := re.search(r"\[([^\[\]]*)\]", text)) is not None:
            text = text[: match.start()] + self.one(match[1].split("|")) + text[match.end() :]

        def word(match: re.Match) -> str:
            return slots[match[1]] if match[1] in slots else self.one(LISTS[match[1]])

        return re.sub(r"\{(\w+)\}", word, text)

    def person(self, role: str = "", taken: tuple[str, ...] = ()) -> dict[str, str]:
        """Return a name and its pronouns, as slots that end in `role`."""
        he = self.one(("he", "she"))
        name = self.one([name for name in NAMES[he] if name not in taken])
        him, his, himself = ("him", "his", "himself") if he == "he" else ("her", "her", "herself")
        forms = {"n": name, "he": he, "him": him, "his": his, "He": he.capitalize(), "His": his.capitalize()}
        forms["himself"] = himself
        return {key + role: value for key, value in forms.items()}

    def noun(self, kind: str) -> str:
        """Return a noun, often with an adjective or two, without an article."""
        words = [self.one(LISTS[kind])]
        if self.maybe(0.45):
            words.insert(0, self.one(ADJECTIVES.get(kind, ADJECTIVES[""])))
        if kind not in ("food", "drink", "place") and self.maybe(0.35):
            words.insert(-1, self.one(LISTS["colour"]))
        elif kind != "drink" and self.maybe(0.12):
            words.insert(0, self.one(LISTS["size"]))
        return " ".join(words)

    def action(self) -> dict[str, str]:
        """Return a verb's forms with an object, as slots."""
        base, third, past, ing, part, kinds = self.one(VERBS)
        kind = self.one(kinds)
        noun = self.noun(kind)
        obj = self.fill(f"[a|a|the|the|{{his}}] {noun}", his="{his}")
        return {
            "do": base,
            "does": third,
            "did": past,
            "doing": ing,
            "done": part,
            "kind": kind,
            "noun": noun,
            "obj": obj,
        }


def turn(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def invented(w: Writer, parts: tuple[int, ...] = (2, 2, 3)) -> str:
    """Return a name of so many syllables as one of `parts` says."""
    return "".join(w.rng.choice(SYLLABLES) for _ in range(w.one(parts))).capitalize()
