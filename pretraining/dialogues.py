"""Dialogues: questions on what was told, on the world and on stories, small tasks, and small talk."""

from collections.abc import Callable, Sequence

from attributes import KINDS
from entities import Entity
from texts import SENTENCES, plural, slots, story_parts
from words import GROUPS, KNOWN, LISTS, NUMBERS, OPPOSITES, VERBS
from writer import Message, Writer, english, invented, turn

__all__ = [
    "copy_dialogue", "entity_dialogue", "known_dialogue", "staff_dialogue", "story_dialogue", "talk_dialogue",
    "task_dialogue", "wrapped",
]  # fmt: skip

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
