"""Invented shops, people and things: what has been drawn of each, said and asked."""

import re
from collections.abc import Callable

from attributes import KINDS, any_name
from words import LISTS
from writer import Writer, invented

__all__ = ["Entity"]

Key = tuple[str, str]


class Entity:
    """One invented shop, person or thing with what has been drawn of it."""

    def __init__(self, w: Writer, kind: str, ours: bool | None = None) -> None:
        self.w, self.attributes, self.kind = w, KINDS[kind], kind
        self.values: dict[Key, str] = {}
        self.ours = False
        if kind == "shop":
            self.sort = w.one(LISTS["shopkind"])
            own = w.one([invented(w), f"{invented(w)} {invented(w)}", f"Casa {invented(w)}", any_name(w)])
            self.name = w.one([own, own, own, f"the {own} {self.sort}", f"{self.sort.title()} {own}"])
            self.first = w.one(["it", "the shop", "they"][:2])
            self.ours = w.maybe(0.3) if ours is None else ours
        elif kind == "person":
            who = w.person()
            self.name = f"{who['n']} {invented(w)}" if w.maybe(0.3) else who["n"]
            self.first, self.possessive = who["he"], who["his"]
        else:
            self.name = f"the {w.noun(w.one(['thing', 'vehicle', 'tool', 'toy']))}"
            self.first = "it"

    def draw(self, count: int, also: Key | None = None) -> list[Key]:
        """Draw values of `count` attributes, and of `also`; return what there is now."""
        wanted = [] if also is None else [also]
        for name in self.w.rng.sample(list(self.attributes), min(count, len(self.attributes))):
            attribute = self.attributes[name]
            repeats = self.w.one((1, 1, 2)) if attribute.detail else 1
            wanted += [(name, attribute.detail(self.w) if attribute.detail else "") for _ in range(repeats)]
        for key in wanted:
            if key not in self.values:
                self.values[key] = self.attributes[key[0]].value(self.w)
        return list(self.values)

    def _say(self, template: str, key: Key, voice: str) -> str:
        if voice in ("we", "you"):
            here = "here" if voice == "we" else self.w.one(["at your shop", "there", "in your shop"])
            own = {
                "e": voice,
                "e2": "us" if voice == "we" else "you",
                "es": "our" if voice == "we" else "your",
                "at": here,
            }
        elif voice == "short":
            own = {"e": self.first, "e2": self.first, "at": "there"}
            own["es"] = self.possessive if self.kind == "person" else "its"
        else:
            own = {"e": self.name, "e2": self.name, "es": f"{self.name}'s", "at": f"at {self.name}"}
        # "does~ Ana do" is asked of a person in the detail even where the shop says "we".
        text = self.w.fill(template.replace("do~ {d}", "does {d}"), **own, v=self.values[key], d=key[1])
        both = {"is": "are", "was": "were", "has": "have"}
        other = {"do": "does", "did": "did", "is": "is", "was": "was", "has": "has"}

        def verb(word: str) -> str:
            if voice in ("we", "you"):
                return both.get(word, word)
            return other.get(word, f"{word}s")

        text = re.sub(r"(\w+)~", lambda match: verb(match[1]), text)
        return " ".join(text.split()).replace(" ?", "?").replace(" .", ".")

    def state(self, key: Key, voice: str = "name") -> str:
        return self._say(
            self.w.one(self.attributes[key[0]].says), key, "we" if self.ours and voice == "name" else voice
        )

    def named(self, say: Callable[[Key], str], key: Key) -> str:
        """Say or ask something in words that name this entity, where a few tries find such."""
        for _ in range(10):
            text = say(key)
            if self.name in text:
                break
        return text

    def ask(self, key: Key, short: bool = False) -> str:
        voice = "you" if self.ours else "short" if short and self.w.maybe(0.7) else "name"
        lead = self.w.fill("[||||||||hi. |hello, |please: |one question: |excuse me, ]")
        return lead + self._say(self.w.one(self.attributes[key[0]].asks), key, voice)

    def answer(self, key: Key) -> str:
        voice = "we" if self.ours else "short" if self.w.maybe(0.35) else "name"
        lead = self.w.fill("[|||||||||||of course. |sure. |yes: |good question. ]")
        return lead + self._say(self.w.one(self.attributes[key[0]].says), key, voice)

    def paragraph(self, count: int) -> str:
        keys = self.draw(count)
        intro = f"{self.name} is a {self.sort}. " if self.kind == "shop" and self.w.maybe(0.7) else ""
        ours, self.ours = self.ours, False
        lines = [self.state(key, "short" if (place or intro) and self.w.maybe(0.6) else "name")
                 for place, key in enumerate(keys)]  # fmt: skip
        self.ours = ours
        return intro + " ".join(lines)
