"""The text that the embedded model learns from: short documents and dialogues, written by rules, the same for a seed.

    python pretraining/recipe.py --seed 1 --documents 20       # look at some

A document is a plain text, or a dialogue as a list of {"role", "content"} messages. Document number i of a seed depends on
nothing else, so that any part can be made again. Facts that a demonstration tunes on are in none of it: names of shops and
people's surnames, prices, hours and the like are drawn anew for every document.
"""

import argparse
import random
import re
from collections.abc import Callable, Iterator, Sequence

from entities import KINDS, Entity, invented
from words import ADJECTIVES, GROUPS, KNOWN, LISTS, NAMES, NUMBERS, OPPOSITES, PT, VERBS

__all__ = ["Document", "Message", "document", "documents"]

Message = dict[str, str]
Document = str | list[Message]


# -- rules -----------------------------------------------------------------------------------------------------------


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


# -- plain texts -----------------------------------------------------------------------------------------------------

WEATHER = (
    "it was a [cold|warm|rainy|sunny|windy|grey|beautiful|quiet] {daypart}",
    "it was [raining|snowing|very hot|cold|windy] [outside|that day|all {daypart}]",
    "the [sun was shining|sky was blue|sky was grey|wind was strong|rain did not stop|streets were wet]",
    "it was {weekday} [morning|afternoon|evening]", "it was the [first|last] day of {month}", "{season} had [just begun|come]",
)  # fmt: skip
REASONS = (
    "{he} was [hungry|tired|late|bored|thirsty|curious]", "it was [late|cold|raining|a holiday|{his} birthday]",
    "{his} {family} asked {him} to", "the shop was [closed|open|near]", "{he} had [no time|a lot of time|no money|a plan]",
    "{he} wanted to help {his} {family}",
)  # fmt: skip
SENTENCES = (
    "{n} {did} {obj}[| in the {place}| at home| on {weekday}| yesterday| this {daypart}| with {his} {family}].",
    "every {weekday}, {n} {does} {obj}[| in the {place}| with {his} {family}].",
    "{n} is {doing} {obj} [now|at the moment|in the {place}|again].",
    "{n} {did} {obj} because {reason}.", "{n} did not {do} {obj} because {reason}.",
    "{n} wants to {do} {obj}, but {he} has no [time|money|luck] today.", "tomorrow {n} will {do} {obj}[| in the {place}].",
    "when {n} [arrived|came home|woke up], {his} {family} was {doing} {obj}.", "has {n} {done} {obj}? [yes, {he} has|no, not yet].",
    "did {n} {do} {obj}? [yes, {he} did|no, {he} did not].", "{n} has never {done} {obj}.", "before lunch, {n} {did} {obj}.",
    "if it [rains|is sunny|is cold], {n} will {do} {obj} [tomorrow|at home|in the {place}].", "{n} can {do} {obj} very well.",
    "{n} and {his} {family} {did} {obj} [together|in the {place}|last {weekday}].", "{n} likes {doing} {obj} in the {daypart}.",
    "there is a {thing2} in the {place}. it is [near|behind|in front of|next to] the {vehicle}.",
    "the {thing2} that {n} {did2} was [in the {room}|under the table|on the chair|in a box].",
    "{n} went to the {place} to {do} {obj}.", "after work, {n} {did} {obj} and went home.", "{n} works as a {job} in {city}.",
    "{n} was {feeling}, so {he} {did} {obj}.", "{n} lives near the {place} with {his} {family}. {He} [likes|loves] {hobby}.",
    "the {animal} [slept|ran|sat|played] [under|near|behind] the {thing2}.", "[some|many|two|three|few] people were in the {place}.",
    "{n} has a {animal}. the {animal2} is {colour} and very [small|big|friendly|lazy|clever].",
    "the {place} is [near|far from|behind|next to] the {place2}.", "who {did} {obj}? nobody [knows|knew].",
    "{weather}, so {n} [stayed at home|went out|took {his} {clothes}|closed the window|sat in the garden].",
    "in {month} it is often [cold|hot|rainy|dry|windy] in {city}.", "the weather in {city} was [bad|good|cold|warm] on {weekday}.",
    "the {noun2} is [bigger|smaller|older|newer|heavier|cheaper|nicer] than the {thing2}.", "{n} said that {he} {did} {obj}.",
    "{n} asked {his} {family} to {do} {obj}.", "the {noun2} was [bought|found|sold|lost|made|cleaned] by {n} [in {month}|last year].",
    "do not {do} the {noun} [now|in the {place}|today]!", "please bring me the {noun2}.", "{n} is {age} years old and lives in {city}.",
    "while {n} was {doing} {obj}, [the phone rang|the door opened|it began to rain|a {animal} came in].",
    "{n} eats a {food} for [breakfast|lunch|dinner] every day.", "a {food} and a {drink} cost {count} reais in {city}.",
    "in the {place} there are {count} [chairs|tables|people|trees|windows], but only one {thing}.", "{n} is learning {hobby}.",
    "{n} takes the [bus|train] to the {place} at {count} o'clock.", "{n} is [taller|older|younger|faster] than {his} {family}.",
    "I [think|hope|know] that {n} will {do} the {noun}.", "we {did} a {noun} and then went to the {place}.",
    "{n} put the {thing} [on|under|behind|near] the {thing2} and left the {room}.", "{n}'s {body} hurts, so {he} went to the doctor.",
)  # fmt: skip


def slots(w: Writer, who: dict[str, str] | None = None) -> dict[str, str]:
    who = who or w.person()
    act = w.action()
    act["obj"] = w.fill(act["obj"], **who)
    reason = w.fill(w.one(REASONS), **who)
    more = {"thing2": w.noun("thing"), "animal2": w.one(LISTS["animal"]), "place2": w.one(LISTS["place"])}
    more["did2"] = w.one(["bought", "lost", "found", "fixed", "wanted", "needed", "sold"])
    more |= {
        "animal": more["animal2"],
        "noun2": w.noun(w.one(["thing", "tool", "vehicle"])),
        "count": w.one(NUMBERS[2:]),
    }
    more |= {"age": str(w.rng.randint(4, 95)), "weather": w.fill(w.one(WEATHER))}
    return {**who, **act, **more, "reason": reason}


def sentences(w: Writer) -> str:
    """Unconnected sentences, all about one person or each about another."""
    who = w.person() if w.maybe(0.6) else None
    parts = []
    for place in range(w.rng.randint(2, 6)):
        text = w.fill(w.one(SENTENCES), **slots(w, who))
        if who and place and w.maybe(0.6):
            text = re.sub(rf"\b{who['n']}\b", who["he"], text)
        parts.append(text)
    return english(" ".join(parts))


STORIES = {
    "lost": (
        "{weather}. {n} [went to|was at] the {place} with {his} {noun}.|{n} had a {noun}. {He} took it everywhere.",
        "[suddenly|then|in the {daypart}], {n} could not find the {bare}.|on the way home, {he} saw that the {bare} was gone.",
        "{He} looked [under the table|in the {room}|behind the door|everywhere], but it was not there.|{He} asked {his} {family}, "
        "but nobody knew where it was.",
        "{n} was very [sad|worried|angry].|\"where is my {bare}?\" {n} asked.",
        "then {nb} [came|arrived] and said, \"[look|hello], I found [a|your] {bare} [in the {place}|under a chair|near the "
        "{place}].\"|the {animal} was sitting on the {bare}!|at last, {he} found it [in the {room}|in {his} bag|on the bus].",
        "{n} was [happy|glad] [again|at last].|{n} thanked {nb} and smiled.|now {n} always puts the {bare} in [a box|{his} bag].",
    ),
    "cook": (
        "{n} wanted to [make|cook] {a_food} for {his} {family}.|it was {his} {family}'s birthday, so {n} [made|cooked] {a_food}.",
        "first, {he} [went to the market|opened the cupboard|washed {his} hands] and [bought|took] [flour|salt|butter|sugar|eggs].",
        "then {he} [cut|mixed|washed] everything [slowly|quickly|carefully].|{nb} helped {him} [in the kitchen|to cut the fruit].",
        "but [there was no sugar|the oven was cold|the milk was sour|the {animal} wanted to eat it]!|it took [one|two|three] hours.",
        "in the end, it was [delicious|a little salty|too sweet|very good].|everybody [ate|tasted] it and [smiled|laughed].",
        "\"thank you, {n},\" said {nb}.|{n} was [tired but happy|very proud].|tomorrow {he} will cook again.",
    ),
    "rain": (
        "{n} and {nb} were [walking to|playing in|sitting in] the {place}.|{n} and {nb} wanted to go to the {place}.",
        "[suddenly|then] it [began|started] to rain.|black clouds came, and the wind was [strong|cold].",
        "{n} had [no umbrella|an umbrella|only a {clothes}].|\"we will get wet!\" said {nb}.|\"run!\" said {n}.",
        "they [ran|went] into a [cafe|shop|bakery|station|library] and waited.|they stood under a [tree|bridge|roof].",
        "{nb} drank a {drink} and {n} ate {a_food}.|they talked about {hobby} for [an hour|a long time].",
        "[soon|after an hour] the rain stopped and they went home.|when the sun came back, they [laughed|walked home together].",
    ),
    "market": (
        "on {weekday}, {n} went to the market[| with {his} {family}| with {nb}].|{n} needed [food|a present for {nb}|a {noun}].",
        "{He} bought {a_food}, {a_food2} and a {bare}.|the first shop had no {bare}, so {he} went to another one.",
        "\"how much is [it|the {bare}]?\" asked {n}. \"it costs {count} [reais|coins],\" said the [seller|woman|man|old man].",
        "\"that is [cheap|expensive|too much],\" said {n}.|{n} paid and said thank you.|{n} counted {his} money.",
        "the bag was [heavy|full], so {nb} helped to carry it.|{He} went home by [bus|bicycle|car|train].",
        "at home, {n} [put everything on the table|cooked lunch|slept for an hour].|{n} was [tired|happy] when {he} got home.",
    ),
    "animal": (
        "{n} saw a [small|hungry|little|lost|wet] {animal} [near|in] the {place}.|one {daypart}, {n} found a {animal} [in the "
        "garden|under a tree|on the road].",
        "the {animal} was [cold|hungry|afraid|hurt].|its [leg|foot|ear] was hurt.|it looked at {n} and did not move.",
        "{n} gave it [water|milk|some bread|food] and a [warm|soft] blanket.|{n} took it home [in a box|in {his} arms].",
        "{his} {family} said, \"[it can stay here|we must find its home|what a pretty {animal}].\"|{nb} called the vet.",
        "after [two|three|four] days, the {animal} was [well|strong] again.|soon the {animal} and {n} were friends.",
        "{n} named it {petname}.|now the {animal} [sleeps in the {room}|lives in the garden|follows {n} everywhere].",
    ),
    "work": (
        "{n} is a {job}. {He} works [in a {place}|in {city}|with {nb}].|{n} works as a {job}, and {he} [likes|loves] {his} work.",
        "every {daypart}, {he} gets up at {hour} and goes to work by [bus|train|car|bicycle].",
        "on {weekday}, {weather}, and {n} was late.|last {weekday}, there was a lot of work.|one day, {his} {thing} broke.",
        "{nb} said, \"[do not worry|I can help you|let us work together].\"|{n} asked {nb} for help.",
        "they worked [until night|all day|for {count} hours] and [finished everything|fixed the problem].",
        "after work, {n} [went home|drank a {drink}|ate {a_food}] and [slept|read a book|called {his} {family}].",
    ),
    "gift": (
        "tomorrow is {nb}'s birthday. {n} wants to give {himb} a present.|{n} made a present for {nb}.",
        "\"what does {nb} like?\" {he} [asked {his} {family}|thought]. {nb} [likes|loves] {hobby}.",
        "{n} had only {count} [reais|coins].|{n} went to [three|two|many] shops.|{n} looked in every shop in {city}.",
        "at last {he} [bought|found|made] a {noun}.|in the end, {he} chose a {noun}.",
        "{nb} opened the box and [smiled|laughed|was surprised].|\"a {bare}! thank you!\" said {nb}.",
        "they ate [cake|{a_food}] and [sang|danced|talked] all {daypart}.|it was a [good|beautiful|happy] day.",
    ),
    "repair": (
        "{n}'s {vehicle} [did not start|was broken|made a strange noise].|on the way to {city}, {n}'s {vehicle} stopped.",
        "{n} looked at it, but {he} did not know what to do.|\"what is wrong?\" asked {nb}.|{n} called {nb}, a mechanic.",
        "{nb} took a {tool} and [opened|looked at|cleaned] the engine.|{nb} came with a {tool} and a {tool2}.",
        "\"a part is [broken|lost|old],\" {heb} said. \"it costs {count} reais.\"|it took {count} hours to fix it.",
        "[soon|then|at {hour}] it worked again.|in the {daypart}, the {vehicle} was like new.",
        "{n} paid {nb} and drove home.|{n} said thank you and gave {nb} {a_food}.|now {n} takes better care of it.",
    ),
}  # fmt: skip


def story_parts(w: Writer) -> tuple[str, dict[str, str]]:
    who, other = w.person(), {}
    other = w.person("b", taken=(who["n"],))
    kind = w.one(["thing", "toy", "clothes"])
    bare = w.one(LISTS[kind])
    fixed = {key: w.one(LISTS[key]) for key in ("animal", "vehicle", "tool", "place", "city", "hobby", "family", "job")}
    more = {
        "bare": bare, "noun": w.fill("[|{colour} |new |old |small |beautiful ]") + bare, "count": w.one(NUMBERS[2:]),
        "weather": w.fill(w.one(WEATHER)), "a_food": f"a {w.noun('food')}", "a_food2": f"a {w.one(LISTS['food'])}",
        "hour": w.one(["six", "seven", "eight", "nine"]) + " o'clock", "tool2": w.one(LISTS["tool"]),
        "petname": w.one(["Pip", "Bolota", "Nino", "Sol", "Lua", "Pingo", "Fifi", "Mel", "Tito", "Estrela"]),
    }  # fmt: skip
    values = {**who, **other, **fixed, **more}
    # A bar divides whole alternatives here, and words inside brackets: take the brackets' first.
    lines = []
    for choice in STORIES[w.one(list(STORIES))]:
        if w.maybe(0.06):
            continue
        masked = re.sub(r"\[[^\]]*\]", lambda match: match[0].replace("|", "¦"), choice)
        lines.append(w.fill(w.one(masked.split("|")).replace("¦", "|"), **values))
    return english(" ".join(lines)), values


def story(w: Writer) -> str:
    return story_parts(w)[0]


def known(w: Writer) -> str:
    """Statements about the world, with numbers and opposites among them."""
    parts = []
    for _ in range(w.rng.randint(2, 5)):
        kind = w.rng.randrange(6)
        if kind < 3:
            parts.append(w.one(KNOWN)[1])
        elif kind == 3:
            first, second = w.one(OPPOSITES)
            parts.append(f"The opposite of {first} is {second}.")
        elif kind == 4:
            group = w.one(list(GROUPS))
            items = w.rng.sample(GROUPS[group], 3)
            parts.append(f"{items[0]}, {items[1]} and {items[2]} are [all |]{plural(group)}.")
        else:
            first, second = w.rng.randint(0, 10), w.rng.randint(0, 10)
            parts.append(f"{NUMBERS[first]} plus {NUMBERS[second]} is {NUMBERS[first + second]}.")
    return english(w.fill(" ".join(parts)))


def plural(group: str) -> str:
    head, _, rest = group.partition(" of ")
    if head.startswith("piece"):
        return group.replace("piece", "pieces")
    return f"{head}s" + (f" of {rest}" if rest else "")


def about(w: Writer) -> str:
    """A paragraph on one invented shop, person or thing."""
    entity = Entity(w, w.one(list(KINDS)))
    return english(entity.paragraph(w.rng.randint(2, 6)))


# -- dialogues -------------------------------------------------------------------------------------------------------

SYSTEMS = (
    "You are a helpful assistant.", "You are a kind assistant. Answer in one sentence.", "Answer the questions.",
    "You help people with simple questions.", "Be short and friendly.", "Answer with the facts that you are given.",
)  # fmt: skip
THANKS = (
    ("thank you!", "you are welcome!"), ("thanks.", "you are welcome. have a good day!"), ("great, thanks!", "my pleasure!"),
    ("bye!", "goodbye! have a nice {daypart}."), ("thank you for your help.", "you are welcome. goodbye!"),
    ("ok, see you.", "see you soon!"), ("that is all.", "good. have a nice day!"),
)  # fmt: skip
GREETINGS = (
    ("[hello|hi|hey]!", "[hello|hi]! how can I help you?"), ("good {daypart}.", "good {daypart0}! how can I help you?"),
    ("[hi|hello], how are you?", "I am [fine|well|very well], thank you. how can I help [you|you today]?"),
    ("can you help me?", "[of course|yes, of course]. what [do you need|would you like to know]?"),
    ("I have a question.", "[of course|yes]. what is your question?"),
)  # fmt: skip


def wrapped(w: Writer, turns: list[Message], system: float = 0.2, ends: float = 0.15) -> list[Message]:
    """Put a system message, a greeting or a farewell around a dialogue, now and then."""
    daypart = w.one(LISTS["daypart"])
    if w.maybe(ends):
        ask, reply = w.one(GREETINGS)
        ask, reply = (w.fill(text, daypart=daypart, daypart0=daypart) for text in (ask, reply))
        first = int(turns[0]["role"] == "system")
        turns[first:first] = [turn("user", english(ask)), turn("assistant", english(reply))]
    if w.maybe(ends):
        ask, reply = w.one(THANKS)
        turns = [*turns, turn("user", english(ask)), turn("assistant", english(w.fill(reply)))]
    if turns[0]["role"] != "system" and w.maybe(system):
        turns = [turn("system", w.one(SYSTEMS)), *turns]
    return turns


def entity_dialogue(w: Writer) -> list[Message]:
    """Questions on an invented shop, person or thing; told before, or made up by the assistant and kept to."""
    kind = w.one(list(KINDS))
    entity = Entity(w, kind)
    told = w.rng.random()
    turns: list[Message] = []
    names = entity.draw(w.rng.randint(1, 5))
    context = english(" ".join(entity.state(name) for name in w.rng.sample(names, len(names))))
    if told < 0.25:
        turns.append(turn("system", w.one(("", "", "Answer the questions. ", "These are the facts: ")) + context))
    asked = w.rng.sample(names, min(len(names), w.rng.choice((1, 1, 2, 2, 3))))
    for place, name in enumerate(asked):
        question, answer = entity.ask(name, short=bool(place)), entity.answer(name)
        if 0.25 <= told < 0.7 and not place:
            question = f"{context} {question}" if w.maybe(0.7) else f"{question}\n{context}"
        turns += [turn("user", english(question)), turn("assistant", english(answer))]
    if w.maybe(0.25):
        name = w.one(asked)
        turns += [turn("user", english(entity.ask(name, short=True))), turn("assistant", english(entity.answer(name)))]
    return wrapped(w, turns, system=0.1)


def staff_dialogue(w: Writer) -> list[Message]:
    """Questions on one of several people or goods of the same text: the right one is to be picked."""
    kind = w.one(list(KINDS))
    entities = [Entity(w, kind, ours=False) for _ in range(w.rng.randint(2, 3))]
    name = w.one(entities[0].draw(3))
    for entity in entities:
        entity.draw(0, also=name)
    context = english(" ".join(entity.named(entity.state, name) for entity in entities))
    turns = []
    for place, entity in enumerate(w.rng.sample(entities, w.rng.randint(1, 2))):
        question = entity.named(entity.ask, name)
        turns.append(turn("user", english(question if place else f"{context} {question}")))
        turns.append(turn("assistant", english(entity.answer(name))))
    if w.maybe(0.4):
        question = turns[0]["content"].removeprefix(context).strip()
        turns = [turn("system", context), turn("user", question), *turns[1:]]
    return wrapped(w, turns, system=0.1)


def known_dialogue(w: Writer) -> list[Message]:
    turns = []
    for _, _, question, answer in w.rng.sample(KNOWN, w.rng.randint(1, 3)):
        lead = w.fill("[||||can you tell me: |I have a question. |please tell me: |do you know this? ]")
        turns += [turn("user", english(lead + question)), turn("assistant", answer)]
    return wrapped(w, turns)


def story_dialogue(w: Writer) -> list[Message]:
    """A story, and who or what was in it; or a story told when asked for."""
    text, values = story_parts(w)
    if w.maybe(0.4):
        ask = w.fill(
            "[[tell me|write] a [short |little |]story about {n}.|can you tell me a story about {n}?]", **values
        )
        return wrapped(w, [turn("user", english(ask)), turn("assistant", text)])
    # Sentences with an object, each told by name, so that the question has one answer.
    people = [w.person()]
    while len(people) < 3:
        people.append(w.person(taken=tuple(who["n"] for who in people)))
    acts = [w.action() for _ in people]
    where = w.rng.sample(LISTS["place"], len(people))
    lines = [
        f"{who['n']} {act['did']} a {act['noun']} in the {place}."
        for who, act, place in zip(people, acts, where, strict=True)
    ]
    count = w.rng.randint(1, 3)
    pick = w.rng.randrange(count)
    who, act, place = people[pick], acts[pick], where[pick]
    answers = [
        (f"what did {who['n']} {act['do']}?", f"{who['n']} {act['did']} a {act['noun']}."),
        (f"who {act['did']} a {act['noun']}?", f"{who['n']} {act['did']} a {act['noun']}."),
        (f"where was {who['n']}?", f"{who['n']} was in the {place}."),
        (f"where did {who['n']} {act['do']} a {act['noun']}?", f"in the {place}."),
    ]
    question, answer = w.one(answers)
    return wrapped(w, [turn("user", english(" ".join([*lines[:count], question]))), turn("assistant", english(answer))])


def count_task(w: Writer) -> tuple[str, str]:
    first = w.rng.randint(1, 12)
    last = first + w.rng.randint(2, 7)
    if w.maybe(0.5):
        return f"count from {first} to {last}.", ", ".join(map(str, range(first, last + 1))) + "."
    return f"count from {NUMBERS[first]} to {NUMBERS[last]}.", ", ".join(NUMBERS[first : last + 1]) + "."


def sum_task(w: Writer) -> tuple[str, str]:
    first, second = w.rng.randint(1, 10), w.rng.randint(1, 10)
    total = first + second
    if w.maybe(0.3):
        thing = w.one(["apples", "books", "cups", "keys", "eggs", "balls", "coins", "chairs"])
        who = w.person()
        text = f"{who['n']} has {NUMBERS[first]} {thing} and buys {NUMBERS[second]} more. how many {thing} does {who['he']} have?"
        return text, f"{who['n']} has {NUMBERS[total]} {thing}."
    if w.maybe(0.4):
        return f"what is {total} minus {first}?", f"{total} minus {first} is {second}."
    if w.maybe(0.5):
        return f"what is {first} plus {second}?", f"{first} plus {second} is {total}."
    return f"[what is|how much is] {NUMBERS[first]} plus {NUMBERS[second]}?", f"it is {NUMBERS[total]}."


def list_task(w: Writer) -> tuple[str, str]:
    group = w.one(list(GROUPS))
    number = w.rng.randint(2, 3)
    items = w.rng.sample(GROUPS[group], number)
    answer = f"{', '.join(items[:-1])} and {items[-1]}."
    return f"[name|list|tell me|give me|write] {NUMBERS[number]} {plural(group)}.", answer


def kind_task(w: Writer) -> tuple[str, str]:
    group = w.one(["fruit", "vegetable", "bird", "tool", "vehicle", "drink", "sport", "piece of furniture"])
    right = w.one(GROUPS[group])
    wrong = w.rng.sample([x for other in ("colour", "job", "season", "part of the body") for x in GROUPS[other]], 2)
    three = w.rng.sample([right, *wrong], 3)
    return f"which of these belongs to the {plural(group)}: {three[0]}, {three[1]} or {three[2]}?", f"{right}."


def opposite_task(w: Writer) -> tuple[str, str]:
    first, second = w.rng.sample(w.one(OPPOSITES), 2)
    return f"what is the opposite of {first}?", f"the opposite of {first} is {second}."


def repeat_task(w: Writer) -> tuple[str, str]:
    text = w.fill(w.one(SENTENCES), **slots(w))
    return f"[repeat|say|write] this[| sentence]: {english(text)}", text


def echo_task(w: Writer) -> tuple[str, str]:
    """Invented words, said again."""
    words = [w.one([invented(w), invented(w), w.person()["n"], w.noun("thing")]) for _ in range(w.rng.randint(2, 6))]
    text = w.one([" ", " ", ", "]).join(words) + "."
    return f"[repeat|say|write][:| this:| after me:] {text}", text


def look_up_task(w: Writer) -> tuple[str, str]:
    """Several names with a value each: which has the one that is asked for?"""
    kind = w.rng.randrange(3)
    number = w.rng.randint(2, 5)
    keys = [w.one([invented(w), w.person()["n"], f"the {w.one(LISTS['thing'])}"]) for _ in range(3 * number)]
    keys = list(dict.fromkeys(keys))[:number]
    values = [(w.one(LISTS["colour"]), str(w.rng.randint(1, 999)), invented(w))[kind] for _ in keys]
    told = w.one([", ", "; ", "\n"]).join(
        f"{key}{w.one([' '] if kind else [' is '])}{value}" for key, value in zip(keys, values, strict=True)
    )
    pick = w.rng.randrange(len(keys))
    return f"{told}.\n[and |what is |tell me: |]{keys[pick]}?", f"{keys[pick]}{' ' if kind else ' is '}{values[pick]}."


def order_task(w: Writer) -> tuple[str, str]:
    days = LISTS[w.one(["weekday", "month"])]
    place = w.rng.randrange(len(days))
    if w.maybe(0.5):
        return f"what comes after {days[place]}?", f"after {days[place]} comes {days[(place + 1) % len(days)]}."
    return f"what comes before {days[place]}?", f"before {days[place]} comes {days[place - 1]}."


TASKS = (count_task, sum_task, list_task, kind_task, opposite_task, repeat_task, order_task)


def copy_dialogue(w: Writer) -> list[Message]:
    return task_dialogue(w, (echo_task, look_up_task, look_up_task))


def task_dialogue(w: Writer, tasks: Sequence[Callable[[Writer], tuple[str, str]]] = TASKS) -> list[Message]:
    turns = []
    for _ in range(w.rng.randint(1, 2)):
        ask, answer = w.one(tasks)(w)
        turns += [turn("user", english(w.fill(ask))), turn("assistant", english(answer))]
    return wrapped(w, turns)


TALK = (
    ("do you like {x}?", "[yes, I like {x} very much|yes, {x} is [nice|great]|no, I do not like {x}]. [and you|do you like it]?"),
    ("what is your favourite [food|animal|colour|season]?", "I like [many things|all of them]. what is yours?"),
    ("my name is {n}.", "[hello|nice to meet you|hi], {n}! how can I help you?"), ("who are you?", "I am an assistant. I can [help "
     "you|answer questions|tell stories]."), ("what can you do?", "I can answer questions, tell stories and count."),
    ("I am {feeling} today.", "[why are you {feeling}|I see. why are you {feeling} today]?"),
    ("because I {did} {obj}.", "[I understand|I see|oh]. [did your {family} help you|what will you do now|was it difficult]?"),
    ("it is [raining|very cold|very hot|windy] today.", "[yes, stay at home and drink something warm|take your {clothes} with you]."),
    ("I lost my {thing}.", "I am sorry. where did you [see|use] your {thing0} last?"), ("what should I eat?",
     "you could eat a {food}."), ("what should I do on {weekday}?", "you could go to the {place} or try {hobby}."),
    ("I am going to the {place}.", "have fun at the {place0}!"), ("I have a {animal}.", "what is the name of your {animal0}?"),
    ("its name is {pet}.", "{pet} is a [nice|beautiful|lovely] name!"), ("I work as a {job}.", "do you like being a {job0}?"),
    ("how is the weather?", "{weather}."), ("I am [hungry|thirsty].", "would you like a [{food}|{drink}]?"),
    ("tell me something.", "[every|last] {weekday} I think of a {noun2}."), ("where do you live?", "I have no home. I am an assistant."),
    ("how old are you?", "I have no age. I am an assistant."), ("tell me about {n}.", "{n} is a {job} from {city}. {He} likes {hobby}."),
)  # fmt: skip


def talk_dialogue(w: Writer) -> list[Message]:
    turns = []
    for _ in range(w.rng.randint(1, 3)):
        ask, answer = w.one(TALK)
        values = slots(w) | {key: w.one(LISTS[key]) for key in ("feeling", "thing", "place", "animal", "job")}
        values |= {f"{key}0": values[key] for key in ("thing", "place", "animal", "job")}
        values |= {
            "x": w.one(LISTS[w.one(["hobby", "season"])]),
            "pet": w.one(["Pip", "Nino", "Sol", "Lua", "Mel", "Tito"]),
        }
        values["obj"] = w.fill(w.action()["obj"], his="my")
        base = w.one(VERBS)
        values |= {"did": base[2], "obj": f"a {w.noun(w.one(base[5]))}"}
        turns += [turn("user", english(w.fill(ask, **values))), turn("assistant", english(w.fill(answer, **values)))]
    return wrapped(w, turns)


# -- Portuguese ------------------------------------------------------------------------------------------------------


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


# -- longer ones -----------------------------------------------------------------------------------------------------


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


# -- all together ----------------------------------------------------------------------------------------------------

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
