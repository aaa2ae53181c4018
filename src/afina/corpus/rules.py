"""Rules that make interactions fit to learn from: each takes one row and gives back the rows that come of it.

A row with its `problem` set is a reject; the others go on to the next rule.
"""

import contextlib
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from afina.corpus.personal import find_personal, mask_personal
from afina.data.dialogues.interaction import Interaction, dialogue_text
from afina.data.dialogues.speakers import Message
from afina.errors import UsageError

__all__ = ["CleanSettings", "Rule", "repetition", "rules_for"]


@dataclass(frozen=True, kw_only=True)
class CleanSettings:
    """Says what `clean` removes."""

    several: str = "split"
    """A row that runs several dialogues together is cut apart (`split`), removed (`drop`) or left (`keep`)."""
    pairs: bool = False
    """Make every question with its answer an interaction of its own, without what was said before."""
    personal: str = "keep"
    """Personal data is left (`keep`), replaced (`mask`), or removed with its row (`drop`)."""
    near_duplicates: float | None = 0.8
    """Similarity (Jaccard, of five-character pieces) from which the later of two rows goes; None keeps them."""
    min_words: int = 1
    """Fewest words of an answer (or text)."""
    max_words: int | None = 2_000
    """Most words of a row."""
    max_tokens: int | None = None
    """Most tokens of a row, by a tokenizer that is given beside."""
    max_repetition: float | None = 0.75
    """Largest share of an answer's word triples that stood in it before."""

    def __post_init__(self) -> None:
        for name, possible in (("several", ("split", "drop", "keep")), ("personal", ("keep", "mask", "drop"))):
            if getattr(self, name) not in possible:
                raise UsageError(f"{name} is {', '.join(possible)}, not '{getattr(self, name)}'.")
        for name in ("near_duplicates", "max_repetition"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise UsageError(f"{name} is a share above 0 and up to 1, not {value:g}.")


@dataclass(frozen=True)
class Rule:
    """A rule by its name, and in words what it does."""

    name: str
    does: str
    apply: Callable[[Interaction], list[Interaction]]


def rules_for(settings: CleanSettings, tokens: Callable[[str], int] | None, *, plain: bool) -> list[Rule]:
    """Return the rules in their order; those about dialogues are left out for plain texts."""
    # Counting needs to know by whose tokens.
    if settings.max_tokens is not None and tokens is None:
        raise UsageError("max_tokens counts by a tokenizer; say which (--tokenizer).")
    dialogue = [
        Rule(
            "several dialogues",
            f"dialogues run together: {settings.several}",
            lambda row: _several(row, settings),
        ),
        Rule("order", "turns joined, loose ends cut off", _order),
        Rule("no question", "nobody asks", lambda row: _one_side(row, "user", "no question")),
        Rule("no answer", "nobody answers", lambda row: _one_side(row, "assistant", "no answer")),
        *([Rule("pairs", "one question a row", _pairs)] if settings.pairs else []),
    ]
    personal = Rule(
        "personal data", f"e-mail, phone, CPF, CNPJ: {settings.personal}", lambda row: _personal(row, settings)
    )
    return [
        Rule("unreadable", "no dialogue that can be read", lambda row: [row]),
        Rule("characters", "encoding, controls, spaces mended", _characters),
        *([] if plain else dialogue),
        Rule("length", "too short or too long", lambda row: _length(row, settings, tokens)),
        Rule("repetition", "repeats itself", lambda row: _repetition(row, settings)),
        *([personal] if settings.personal != "keep" else []),
    ]


def _rejected(row: Interaction, problem: str) -> Interaction:
    return replace(row, problem=problem)


def _each(row: Interaction, change: Callable[[str], str]) -> Interaction:
    """Return the row with every text changed; the same row where nothing changes."""
    messages = [{**message, "content": change(message["content"])} for message in row.messages]
    others = [[{**message, "content": change(message["content"])} for message in other] for other in row.others]
    text = None if row.text is None else change(row.text)
    # The same object, by which it is told whether a rule changed anything.
    same = messages == list(row.messages) and others == [list(o) for o in row.others] and text == row.text
    return row if same else replace(row, messages=messages, others=others, text=text)


# -- characters ------------------------------------------------------------------------------------------------------

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\u200b\u2028\u2029\ufffe\uffff]")
# A run of spaces is looked at once, at its beginning: from each of its places again, a long one would take hours.
_SPACES = re.compile(r"(?<![ \t\u00a0\u3000])(?:[ \t\u00a0\u3000]{2,}+(?=\S)|[ \t\u00a0\u3000]++(?=\n|$))")
_TWICE = re.compile(r"[ÂÃ][\u0080-\u00bf\u20ac\u201a-\u203a\u0152-\u0192\u02c6\u02dc\u2122]|â€|ðŸ")
"""Characters that UTF-8 turns into when it is read as Windows-1252."""


def _characters(row: Interaction) -> list[Interaction]:
    return [_each(row, _mended)]


def _mended(text: str) -> str:
    # Only a text that shows the damage is turned back: other texts may hold these letters by right.
    if _TWICE.search(text):
        with contextlib.suppress(UnicodeDecodeError, UnicodeEncodeError):
            # Turned back into the bytes that it came from; where these are no UTF-8 it was meant as it stands.
            text = b"".join(_windows(letter) for letter in text).decode("utf-8")
    text = _CONTROL.sub(lambda found: "\n" if found[0] in "\r\u2028\u2029" else "", text.replace("\r\n", "\n"))
    if "```" not in text and "\n " not in text:  # code keeps its columns
        text = _SPACES.sub(lambda found: " " if found.end() < len(text) and text[found.end()] != "\n" else "", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _windows(letter: str) -> bytes:
    try:
        return letter.encode("cp1252")
    except UnicodeEncodeError:
        # Five of Windows' bytes have no letter; they were read as they are.
        return letter.encode("latin-1")


# -- dialogues -------------------------------------------------------------------------------------------------------

_GREETING = re.compile(
    r"\W*(?:hi|hello|hey|good (?:morning|afternoon|evening)|ol[áa]|oi|bom dia|boa (?:tarde|noite)|hola|bonjour|hallo)\b",
    re.I,
)


def _several(row: Interaction, settings: CleanSettings) -> list[Interaction]:
    if row.others and settings.several == "keep":
        # One dialogue, as it stands.
        joined = [message for dialogue in (row.messages, *row.others) for message in dialogue]
        return [replace(row, messages=joined, others=())]
    if settings.several == "keep":
        return [row]
    dialogues = [part for dialogue in (row.messages, *row.others) for part in _divided(dialogue)]
    if len(dialogues) < 2:
        return [row]
    if settings.several == "drop":
        return [_rejected(row, f"{len(dialogues)} dialogues in one row")]
    return [
        replace(row, messages=dialogue, others=(), place=f"{row.place}, dialogue {number}")
        for number, dialogue in enumerate(dialogues, start=1)
    ]


def _divided(messages: Sequence[Message]) -> list[list[Message]]:
    """Divide where a system's text comes again, where a user asks the first question again, or greets anew."""
    parts: list[list[Message]] = [[]]
    for message in messages:
        current = parts[-1]
        # A new dialogue begins only where the one before has had its answer.
        answered = bool(current) and current[-1]["role"] == "assistant"
        # The first question is that of its dialogue; a later one that is the same begins another.
        asked = next((each["content"] for each in current if each["role"] == "user"), None)
        again = message["role"] == "user" and (message["content"] == asked or _GREETING.match(message["content"]))
        if answered and asked is not None and (message["role"] == "system" or again):
            parts.append([])
        parts[-1].append(message)
    return parts


_PLAIN = {"role", "content"}


def _order(row: Interaction) -> list[Interaction]:
    """Join what one speaker says in several turns; take off answers before any question and questions at the end."""
    joined: list[Message] = []
    for message in row.messages:
        # A turn without a word, and without a call of a tool, says nothing.
        if not message["content"].strip() and not message.get("tool_calls"):
            continue

        # What is not to be learned stays apart from what is, and so do calls of tools.
        if joined and joined[-1].keys() == message.keys() == _PLAIN and joined[-1]["role"] == message["role"] != "tool":
            joined[-1] = {**message, "content": f"{joined[-1]['content']}\n{message['content']}"}
        else:
            joined.append(dict(message))
    asked = [place for place, message in enumerate(joined) if message["role"] == "user"]
    answered = [place for place, message in enumerate(joined) if message["role"] == "assistant"]
    if not asked or not answered or answered[-1] < asked[0]:
        # Which side is missing is for the next rules to say.
        return [row] if not (asked and answered) else [_rejected(row, "the answer stands before the question")]

    # What stands before the first question and behind the last answer is cut off as rows of its own, with a reason.
    before = [message for message in joined[: asked[0]] if message["role"] != "system"]
    # What the system says belongs to all that follows it.
    system = [message for message in joined[: asked[0]] if message["role"] == "system"]
    middle, after = [*system, *joined[asked[0] : answered[-1] + 1]], joined[answered[-1] + 1 :]
    pieces = [
        replace(row, messages=part, text=None, problem=problem)
        for part, problem in ((before, "an answer without a question"), (after, "a question without an answer"))
        if part
    ]
    return [row if middle == list(row.messages) else replace(row, messages=middle), *pieces]


def _one_side(row: Interaction, role: str, problem: str) -> list[Interaction]:
    there = any(message["role"] == role and dialogue_text([message]).strip() for message in row.messages)
    return [row if there else _rejected(row, problem)]


def _pairs(row: Interaction) -> list[Interaction]:
    # The system's words stand before each pair, as it would have answered without them otherwise.
    system = [message for message in row.messages if message["role"] == "system"]
    pairs: list[list[Message]] = []
    for message in row.messages:
        if message["role"] == "system":
            continue
        if message["role"] == "user" or not pairs:
            pairs.append([*system])
        pairs[-1].append(message)
    if len(pairs) < 2:
        return [row]
    numbered = [replace(row, messages=pair, place=f"{row.place}, pair {n}") for n, pair in enumerate(pairs, start=1)]
    return [_rejected(pair, "no answer") if pair.messages[-1]["role"] != "assistant" else pair for pair in numbered]


# -- limits ----------------------------------------------------------------------------------------------------------


def _answers(row: Interaction) -> list[str]:
    answers = [dialogue_text([message]) for message in row.messages if message["role"] == "assistant"]
    return answers if row.messages else [row.text or ""]


def _length(row: Interaction, settings: CleanSettings, tokens: Callable[[str], int] | None) -> list[Interaction]:
    text = row.all_text
    words = len(text.split())
    # By the shortest answer: one of no use spoils the row.
    shortest = min(len(answer.split()) for answer in _answers(row))
    if shortest < settings.min_words:
        return [_rejected(row, f"an answer of {shortest} words, where {settings.min_words} are the fewest")]
    if settings.max_words is not None and words > settings.max_words:
        return [_rejected(row, f"{words:,} words, where {settings.max_words:,} are the most")]
    if settings.max_tokens is not None and tokens is not None and (count := tokens(text)) > settings.max_tokens:
        return [_rejected(row, f"{count:,} tokens, where {settings.max_tokens:,} are the most")]
    return [row]


def repetition(text: str) -> float:
    """Return the share of a text's word triples that stood in it before; 0 for fewer than ten triples.

    A text without spaces is looked at by its characters.
    """
    words: Sequence[str] = text.lower().split()
    if len(words) < 12:
        # A text with hardly a space is written without them, or is one long word.
        words = text.lower() if len(text) >= 60 * max(1, len(words)) else words
    triples = list(zip(words, words[1:], words[2:], strict=False))
    # Few triples repeat by chance.
    return 1 - len(set(triples)) / len(triples) if len(triples) >= 10 else 0.0


def _repetition(row: Interaction, settings: CleanSettings) -> list[Interaction]:
    if settings.max_repetition is None:
        return [row]
    share = max(map(repetition, _answers(row)))
    if share > settings.max_repetition:
        return [_rejected(row, f"{100 * share:.0f}% of an answer's word triples stood in it before")]
    if row.messages and _echoes(row.messages):
        return [_rejected(row, "the answer says the question again")]
    return [row]


def _echoes(messages: Iterable[Message]) -> bool:
    turns = [(message["role"], " ".join(message["content"].lower().split())) for message in messages]
    return any(
        asked == answer and len(asked.split()) > 3
        # A yes that is answered by a yes is no echo.
        for (role, asked), (next_role, answer) in itertools.pairwise(turns)
        if (role, next_role) == ("user", "assistant")
    )


def _personal(row: Interaction, settings: CleanSettings) -> list[Interaction]:
    if settings.personal == "mask":
        return [_each(row, mask_personal)]
    counts: Counter[str] = find_personal(row.all_text)
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    return [_rejected(row, f"personal data ({listed})") if counts else row]
