"""The text that the embedded model learns from: short documents and dialogues, written by rules, the same for a seed.

    python pretraining/recipe.py --seed 1 --documents 20       # look at some

A document is a plain text, or a dialogue as a list of {"role", "content"} messages. Document number i of a seed depends on
nothing else, so that any part can be made again. Facts that a demonstration tunes on are in none of it: names of shops and
people's surnames, prices, hours and the like are drawn anew for every document.
"""

import argparse
import random
from collections.abc import Callable, Iterator

from dialogues import (
    copy_dialogue,
    entity_dialogue,
    known_dialogue,
    staff_dialogue,
    story_dialogue,
    talk_dialogue,
    task_dialogue,
)
from portuguese import portuguese, portuguese_dialogue
from texts import about, known, sentences, story
from writer import Document, Message, Writer

__all__ = ["Document", "Message", "document", "documents"]


def long_text(w: Writer) -> str:
    return "\n\n".join(w.one((sentences, story, about, known, portuguese))(w) for _ in range(w.rng.randint(2, 5)))


def long_dialogue(w: Writer) -> list[Message]:
    """One talk on several matters."""
    kinds = (
        entity_dialogue,
        known_dialogue,
        task_dialogue,
        copy_dialogue,
        story_dialogue,
        talk_dialogue,
        portuguese_dialogue,
    )
    parts = [w.one(kinds)(w) for _ in range(w.rng.randint(2, 5))]
    return [
        message for place, part in enumerate(parts) for message in part if not (place and message["role"] == "system")
    ]


MIXTURE: dict[Callable[[Writer], Document], int] = {
    sentences: 13, story: 12, known: 3, about: 8, entity_dialogue: 22, staff_dialogue: 10, known_dialogue: 4, story_dialogue: 9,
    task_dialogue: 5, copy_dialogue: 6, talk_dialogue: 5, portuguese: 5, portuguese_dialogue: 7, long_text: 1, long_dialogue: 3,
}  # fmt: skip
"""Kinds of documents and their shares."""


def document(seed: int, index: int) -> Document:
    """Return document number `index` of a seed."""
    rng = random.Random(f"{seed}/{index}")
    kind = rng.choices(list(MIXTURE), list(MIXTURE.values()))[0]
    return kind(Writer(rng))


def documents(seed: int, count: int, start: int = 0) -> Iterator[Document]:
    return (document(seed, index) for index in range(start, start + count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--documents", type=int, default=20)
    options = parser.parse_args()
    for text in documents(options.seed, options.documents):
        print(text if isinstance(text, str) else "\n".join(f"{m['role']}: {m['content']}" for m in text), end="\n\n")


if __name__ == "__main__":
    main()
