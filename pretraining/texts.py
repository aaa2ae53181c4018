"""Plain texts: sentences, stories, statements about the world, and paragraphs on invented shops, people and things."""

import re

from attributes import KINDS
from entities import Entity
from words import GROUPS, KNOWN, LISTS, NUMBERS, OPPOSITES
from writer import Writer, english

__all__ = ["SENTENCES", "about", "known", "plural", "sentences", "slots", "story", "story_parts"]

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
