"""What can be said and asked of invented shops, people and things, in many wordings, with values drawn anew each time.

In a template {e} is the entity, {es} its possessive, {at} "at it", {v} the value, {d} a detail that is part of the question
(the product whose price is asked); `open~` is `opens`, or `open` where the entity says "we". [a|b] is a choice.
"""

from collections.abc import Callable
from dataclasses import dataclass

from words import LISTS, NAMES, NUMBERS
from writer import Writer, invented

__all__ = ["KINDS", "Attribute", "any_name"]


@dataclass(frozen=True)
class Attribute:
    value: Callable[[Writer], str]
    says: tuple[str, ...]
    asks: tuple[str, ...]
    detail: Callable[[Writer], str] | None = None


def _clock(w: Writer) -> str:
    return f"{w.rng.randint(5, 22)}:{w.one(['00', '00', '10', '15', '20', '30', '30', '40', '45', '50'])}"


def any_name(w: Writer) -> str:
    first = w.one(NAMES[w.one(("he", "she"))]) if w.maybe(0.5) else invented(w)
    return f"{first} {invented(w)}" if w.maybe(0.4) else first


def _money(w: Writer) -> str:
    exact = f"R$ {w.rng.randint(1, 99)},{w.one(['00', '50', '90', '25'])}"
    return w.one([exact, f"{w.rng.randint(1, 30)} dollars", *[f"{w.rng.randint(2, 99)} reais"] * 3])


def _few(w: Writer) -> str:
    return w.one(NUMBERS[2:]) if w.maybe(0.5) else str(w.rng.randint(2, 90))


def _adjective_noun(w: Writer) -> str:
    return f"{w.one(LISTS['colour'])} {w.one(LISTS['animal'])}"


def _code(w: Writer) -> str:
    word = w.one([w.one(LISTS["colour"]), w.one(LISTS["animal"]), invented(w).lower()])
    return f"{word}{w.rng.randint(10, 99)}"


def _of(key: str) -> Callable[[Writer], str]:
    return lambda w: w.one(LISTS[key])


def _street(w: Writer) -> str:
    kind = w.one(["Rua {}", "Rua das {}s", "Avenida {}", "{} Street", "{} Road", "Rua do {}", "Praça {}"])
    return f"{kind.format(invented(w))} {w.rng.randint(1, 900)}"


SHOP = {
    "opens": Attribute(
        _clock,
        ("{e} open~ at {v}.", "the doors open at {v}.", "{e} open~ at {v} in the morning.", "{e} start~ [work|the day] at {v}."),
        ("[what time|when|at what time] do~ {e} open?", "what is the opening time of {es} shop?", "{es} opening time?",
         "how early can I come [{at}|]?", "when can I come in the morning?", "from what time is~ {e} open?",
         "[tell me|do you know] when {e} open~.", "at what hour do~ {e} open the doors?"),
    ),
    "closes": Attribute(
        _clock,
        ("{e} close~ at {v}.", "{e} is~ open until {v}.", "the doors close at {v}.", "{e} stay~ open until {v}."),
        ("[what time|when|at what time] do~ {e} close?", "until when is~ {e} open?", "how late is~ {e} open?",
         "what is the closing time?", "until what time can I come [{at}|]?", "how late can I come?", "{es} closing time?"),
    ),
    "day": Attribute(
        _clock,
        ("on {d} {e} close~ at {v}.", "on {d} {e} is~ open until {v}.", "{e} close~ at {v} on {d}."),
        ("when do~ {e} close on {d}?", "how late is~ {e} open on {d}?", "until what time can I come on {d}?",
         "{d} closing time?", "at what time do the doors close on {d}?"), _of("weekday"),
    ),
    "shut": Attribute(
        lambda w: f"{w.one(LISTS['weekday'])}s",
        ("{e} is~ closed on {v}.", "{e} do~ not open on {v}.", "{e} rest~ on {v}."),
        ("[when|on which day] is~ {e} closed?", "which day do~ {e} not open?", "is there a day when {e} is~ closed?",
         "what is {es} day off?", "on what day do~ {e} rest?"),
    ),
    "street": Attribute(
        _street,
        ("{e} is~ at {v}.", "{es} address is {v}.", "you find {e2} at {v}."),
        ("where is~ {e}?", "what is {es} address?", "[where|how] can I find {e2}?", "on which street is~ {e}?", "{es} address?",
         "where do I have to go to visit {e2}?", "tell me {es} address."),
    ),
    "city": Attribute(
        lambda w: w.one(LISTS["city"]) if w.maybe(0.4) else invented(w),
        ("{e} is~ in {v}.", "{es} home is the [town|city] of {v}.", "{e} work~ in {v}."),
        ("in which [city|town] is~ {e}?", "what [city|town] is~ {e} in?", "which town is {es} home?", "{es} town?"),
    ),
    "founder": Attribute(
        any_name,
        ("{v} started {e2}.", "{v} founded {e2}.", "the founder is {v}.", "{es} founder is {v}."),
        ("who [started|founded|began] {e2}?", "who is {es} founder?", "what is the name of {es} founder?",
         "who had the idea of {e2}?", "by whom was~ {e} [started|founded]?", "who opened {e2} [first|long ago]?"),
    ),
    "year": Attribute(
        lambda w: str(w.rng.randint(1890, 2024)),
        ("{e} opened in {v}.", "{e} began in {v}.", "{e} was~ founded in {v}.", "{e} exist~ since {v}."),
        ("[when|in which year|in what year] did {e} [open|begin|start]?", "since when do~ {e} exist?", "how old is~ {e}?",
         "[when|in which year] was~ {e} founded?", "what year did it all begin?", "what is {es} first year?"),
    ),
    "owner": Attribute(
        any_name,
        ("{v} is {es} owner.", "{es} owner is {v}.", "{e} belong~ to {v}."),
        ("who owns {e2}?", "who is {es} owner?", "to whom do~ {e} belong?", "what is {es} owner's name?", "{es} owner?"),
    ),
    "role": Attribute(
        any_name,
        ("{v} is {es} {d}.", "{es} {d} is {v}.", "the {d} {at} is [called|] {v}.", "{v} works as the {d} {at}."),
        ("who is {es} {d}?", "who works as the {d} {at}?", "what is the name of {es} {d}?", "what is the {d} [{at}|] called?",
         "tell me the name of the {d}.", "which person is the {d}?"),
        lambda w: w.one(["cook", "manager", "cleaner", "driver", "cashier", "teacher", "baker", "mechanic", "waiter", "helper",
                         "gardener", "painter", "guard", "accountant", "tailor", "buyer", "packer", "seller"]),
    ),
    "task": Attribute(
        lambda w: w.one(["answers the phone", "cleans the floor", "opens the doors", "drives the truck", "cooks lunch",
                         "counts the money", "writes the letters", "fixes the machines", "buys the flowers", "makes the cakes",
                         "waters the plants", "packs the boxes", "helps new people", "paints the walls", "teaches children"]),
        ("{d} {v} {at}.", "{at} {d} {v}.", "it is {d} who {v}."),
        ("what do~ {d} do {at}?", "what is {d}'s work {at}?", "what is the work of {d}?", "tell me what {d} does."), any_name,
    ),
    "price": Attribute(
        _money,
        ("the {d} costs {v}.", "{at} the {d} costs {v}.", "{e} sell~ the {d} for {v}.", "the price of the {d} is {v}.",
         "you pay {v} for the {d}."),
        ("how much is the {d}?", "what does the {d} cost?", "how much does the {d} cost [{at}|]?", "what is the price of the {d}?",
         "how much do I [pay|have to pay] for the {d}?", "{d} price?", "what do~ {e} charge for the {d}?",
         "how many reais is the {d}?", "I want to buy the {d}. how much is it?"),
        lambda w: w.one([f"{w.one(LISTS['size'])} {w.one(LISTS['thing'])}", w.one(LISTS["food"]), w.one(LISTS["food"]),
                         f"{invented(w)} {w.one(LISTS['thing'])}", invented(w), f"{invented(w)} {invented(w)}"]),
    ),
    "taste": Attribute(
        lambda w: w.one(["sugar", "lemon", "honey", "apple", "chocolate", "nuts", "milk", "mint", "cherry", "orange", "ginger",
                         "butter", "salt", "smoke", "grapes", "coconut", "rose", "cinnamon"]) + w.one(
                      ["", f" and {w.one(['lime', 'almonds', 'pepper', 'caramel', 'plum', 'fig', 'berries', 'vanilla'])}"]),
        ("{d} tastes of {v}.", "{d} has a taste of {v}.", "in {d} you taste {v}."),
        ("what does {d} taste [of|like]?", "what is the taste of {d}?", "which flavours are in {d}?", "how does {d} taste?",
         "what can I taste in {d}?", "tell me about the flavour of {d}."), lambda w: f"{invented(w)} {invented(w)}",
    ),
    "origin": Attribute(
        lambda w: w.one([w.one(LISTS["country"]), w.one(LISTS["city"]), invented(w), f"{invented(w)} {invented(w)}"]),
        ("{d} comes from {v}.", "{e} buy~ {d} in {v}.", "{es} {d} comes from {v}."),
        ("where does {d} come from?", "where do~ {e} buy {d}?", "what is the origin of {d}?", "from which place is {d}?",
         "which place does {d} come from?"), lambda w: w.one([w.one("bread soap tea honey cheese chocolate rice coffee wool oil paper jam".split()),
                         f"{invented(w)} {invented(w)}"]),
    ),
    "sells": Attribute(
        lambda w: f"{w.one(LISTS['product'])} and {w.one(LISTS['product'])}",
        ("{e} sell~ {v}.", "{at} you can buy {v}.", "{e} offer~ {v}."),
        ("what do~ {e} sell?", "what can I buy {at}?", "which goods do~ {e} offer?", "what do~ {e} have [for sale|to offer]?"),
    ),
    "phone": Attribute(
        lambda w: f"{w.rng.randint(200, 999)}-{w.rng.randint(1000, 9999)}" if w.maybe(0.6) else str(w.rng.randint(1000, 9999)),
        ("{es} phone number is {v}.", "call {e2} at {v}.", "you reach {e2} by phone at {v}."),
        ("what is {es} [phone|telephone] number?", "which number [do|should] I call [to reach {e2}|]?", "{es} phone number?",
         "how can I call {e2}?", "can I have {es} number?"),
    ),
    "mail": Attribute(
        lambda w: f"{invented(w).lower()}@{w.one([invented(w).lower(), w.one(LISTS['animal'])])}.{w.one(['com', 'com.br', 'org'])}",
        ("{es} e-mail address is {v}.", "write to {v}.", "you can write to {e2} at {v}."),
        ("what is {es} e-mail address?", "how can I write to {e2}?", "{es} e-mail?", "where do I send a message?"),
    ),
    "wifi": Attribute(
        _code,
        ("the wifi password is {v}.", "{es} wifi password is {v}.", "use {v} as the wifi password."),
        ("what is the wifi password[ {at}|]?", "how do I use the wifi?", "password for the wifi?", "how can I get on the internet?",
         "which password opens the wifi?"),
    ),
    "pet": Attribute(
        lambda w: invented(w),
        ("{es} {d} is called {v}.", "the {d} {at} is named {v}.", "{v} is the name of {es} {d}."),
        ("what is {es} {d} called?", "what is the name of {es} {d}?", "how do~ {e} call the {d}?", "does the {d} have a name?",
         "who is the {d} {at}?", "what name did~ {e} give the {d}?"),
        lambda w: w.one([w.one(LISTS["animal"]), "oven", "old machine", "van", "boat", "robot", "truck", "big clock", "tree"]),
    ),
    "door": Attribute(
        _of("colour"),
        ("the {d} {at} is {v}.", "{es} {d} is {v}.", "{e} painted the {d} {v}."),
        ("what colour is {es} {d}?", "which colour does the {d} have?", "what is the colour of the {d} [{at}|]?"),
        lambda w: w.one(["door", "sign", "roof", "wall", "van", "gate", "window", "bag", "logo", "apron", "floor"]),
    ),
    "staff": Attribute(
        lambda w: f"{_few(w)} people",
        ("{v} work {at}.", "{e} employ~ {v}.", "the team has {v}."),
        ("how many people work {at}?", "how many people do~ {e} employ?", "how big is {es} team?", "what is the size of the team?"),
    ),
    "sends": Attribute(
        lambda w: f"{w.one(LISTS['weekday'])}s",
        ("{e} [send~|deliver~] orders on {v}.", "orders leave on {v}.", "{es} delivery day is on {v}."),
        ("[when|on which day] do~ {e} [send|deliver] orders?", "on what day do orders leave?", "when will my order be sent?",
         "what is {es} delivery day?", "which day do~ {e} bring the orders?"),
    ),
    "fee": Attribute(
        _money,
        ("delivery costs {v}.", "{e} charge~ {v} for delivery.", "you pay {v} for delivery."),
        ("how much is delivery?", "what do~ {e} charge for delivery?", "what does delivery cost?", "delivery price?",
         "how much do I pay to have it [brought|sent] home?"),
    ),
    "days": Attribute(
        lambda w: f"{_few(w)} days",
        ("you can return things within {v}.", "{e} take~ things back for {v}.", "returns are possible for {v}."),
        ("how long can I return things?", "how many days do I have to [return something|bring it back]?", "until when can I "
         "bring something back?", "what is the time for returns?", "how long do~ {e} take things back?"),
    ),
    "lasts": Attribute(
        lambda w: f"{_few(w)} {w.one(['minutes', 'hours', 'days', 'weeks'])}",
        ("{d} takes {v}.", "{d} lasts {v}.", "you need {v} for {d}."),
        ("how long does {d} [take|last]?", "how much time does {d} take?", "how long is {d}?", "what time do I need for {d}?"),
        lambda w: w.one(["the class", "the visit", "the repair", "a delivery", "the work", "the course", "the tour", "the lunch"]),
    ),
    "discount": Attribute(
        lambda w: f"{w.one([3, 5, 7, 8, 10, 12, 15, 20, 25, 30, 40])} percent",
        ("{d} get {v} off.", "{e} give~ {d} {v} off.", "the discount for {d} is {v}.", "there is a discount of {v} for {d}."),
        ("what discount do {d} get?", "is there a discount for {d}?", "how much off do {d} get?", "what is the discount for {d}?",
         "how much do {d} save?"),
        lambda w: w.one(["students", "teachers", "children", "old people", "neighbours", "nurses", "groups", "new customers"]),
    ),
    "gift": Attribute(
        lambda w: f"a {w.one(LISTS['colour'])} {w.one(LISTS['thing'])}" if w.maybe(0.6) else f"a {w.one(LISTS['food'])}",
        ("{d} get {v}.", "{e} give~ {v} to {d}.", "there is {v} for {d}."),
        ("what do {d} get?", "what do~ {e} give to {d}?", "which present do {d} get?", "is there a present for {d}?"),
        lambda w: w.one(["new customers", "members", "children", "guests", "winners", "old friends", "visitors"]),
    ),
    "seats": Attribute(
        lambda w: f"{_few(w)} {w.one(['chairs', 'tables', 'seats', 'beds', 'rooms', 'shelves', 'machines', 'ovens'])}",
        ("{e} has~ {v}.", "there are {v} {at}."),
        ("how many seats and tables are there {at}?", "how much room is there {at}?", "what do~ {e} have inside?"),
    ),
    "place": Attribute(
        lambda w: f"{w.one(['behind', 'next to', 'under', 'near', 'in front of'])} the {w.one(LISTS['place'])}",
        ("the {d} is {v}.", "you find the {d} {v}.", "{es} {d} is {v}."),
        ("where is the {d}?", "where can I find the {d}?", "where do~ {e} have the {d}?", "how do I find {es} {d}?"),
        lambda w: w.one(["parking", "garden", "toilet", "entrance", "office", "bus stop", "storeroom", "cash desk", "well"]),
    ),
    "best": Attribute(
        lambda w: w.one([f"{invented(w)} {invented(w)}", invented(w), w.one(LISTS["product"])]),
        ("the {d} is {v}.", "{v} is the {d}.", "{es} {d} is {v}."),
        ("what is {es} {d}?", "which one is the {d}?", "what do~ {e} call the {d}?", "tell me the {d}.", "and the {d}?"),
        lambda w: w.one(["most popular product", "cheapest product", "best product", "newest product", "house special",
                         "strongest drink", "favourite of the owner", "product of the month", "oldest recipe"]),
    ),
    "slogan": Attribute(
        lambda w: f"{w.one(['good', 'slow', 'fresh', 'simple', 'honest', 'warm', 'small', 'bright'])} "
                  f"{w.one(LISTS['product'])}, {w.one(['happy', 'calm', 'long', 'good', 'free', 'kind'])} "
                  f"{w.one(['days', 'people', 'hearts', 'mornings', 'friends', 'lives'])}",
        ("{es} motto is \"{v}\".", "{e} say~: \"{v}\".", "the words on the wall are \"{v}\"."),
        ("what is {es} motto?", "which motto do~ {e} have?", "what are the words on the wall?", "what do~ {e} always say?"),
    ),
}  # fmt: skip

PERSON = {
    "age": Attribute(lambda w: str(w.rng.randint(4, 95)), ("{e} is {v} years old.", "{es} age is {v}."),
                     ("how old is {e}?", "what is {es} age?", "what age is {e}?")),
    "job": Attribute(_of("job"), ("{e} works as a {v}.", "{e} is a {v}.", "{es} job is to be a {v}."),
                     ("what is {es} job?", "what does {e} do for work?", "what work does {e} do?", "{es} profession?")),
    "home": Attribute(lambda w: w.one(LISTS["city"]) if w.maybe(0.5) else invented(w),
                      ("{e} lives in {v}.", "{es} home is in {v}."),
                      ("where does {e} live?", "in which [city|town] does {e} live?", "where is {es} home?")),
    "hobby": Attribute(_of("hobby"), ("{e} likes {v}.", "{es} hobby is {v}.", "{e} loves {v}."),
                       ("what is {es} hobby?", "what does {e} like to do?", "what does {e} do for fun?")),
    "food": Attribute(lambda w: w.one("bread cheese chocolate rice soup fish pizza salad cake pasta pie fruit".split()), ("{es} favourite food is {v}.", "{e} likes {v} more than any other food."),
                      ("what is {es} favourite food?", "which food does {e} like most?", "what food does {e} love?")),
    "colour": Attribute(_of("colour"), ("{es} favourite colour is {v}.", "{e} likes {v} more than other colours."),
                        ("what is {es} favourite colour?", "which colour does {e} like most?")),
    "pet": Attribute(_adjective_noun, ("{e} has a {v}.", "{es} pet is a {v}."),
                     ("what pet does {e} have?", "which animal does {e} have?", "does {e} have a pet?")),
    "petname": Attribute(lambda w: invented(w), ("{es} {d} is called {v}.", "{e} has a {d}. its name is {v}."),
                         ("what is the name of {es} {d}?", "what is {es} {d} called?", "how does {e} call the {d}?"),
                         _of("animal")),
    "plays": Attribute(_of("instrument"), ("{e} plays the {v}.", "{es} instrument is the {v}."),
                       ("which instrument does {e} play?", "what does {e} play?", "what is {es} instrument?")),
    "born": Attribute(_of("month"), ("{e} was born in {v}.", "{es} birthday is in {v}."),
                      ("when was {e} born?", "in which month is {es} birthday?", "when is {es} birthday?")),
    "kin": Attribute(any_name, ("{es} {d} is called {v}.", "{v} is {es} {d}.", "the name of {es} {d} is {v}."),
                     ("who is {es} {d}?", "what is the name of {es} {d}?", "what is {es} {d} called?"), _of("family")),
    "wakes": Attribute(_clock, ("{e} wakes up at {v}.", "{e} gets up at {v} every day."),
                       ("when does {e} wake up?", "at what time does {e} get up?", "what time does {e} wake up?")),
    "has": Attribute(lambda w: f"{w.one(LISTS['colour'])} {w.one(LISTS['vehicle'])}", ("{e} drives a {v}.", "{e} has a {v}."),
                     ("what does {e} drive?", "how does {e} travel?", "what kind of vehicle does {e} have?")),
    "goes": Attribute(_of("place"), ("on {d} {e} goes to the {v}.", "{e} visits the {v} on {d}."),
                      ("where does {e} go on {d}?", "what place does {e} visit on {d}?"), _of("weekday")),
    "ate": Attribute(_of("food"), ("{e} ate a {v} for {d}.", "for {d} {e} had a {v}."),
                     ("what did {e} eat for {d}?", "what did {e} have for {d}?"),
                     lambda w: w.one(["breakfast", "lunch", "dinner"])),
    "wants": Attribute(lambda w: w.noun("thing"), ("{e} wants to buy a {v}.", "{e} needs a {v}."),
                       ("what does {e} want to buy?", "what does {e} need?")),
}  # fmt: skip

THING = {
    "colour": Attribute(_of("colour"), ("{e} is {v}.", "the colour of {e} is {v}."),
                        ("what colour is {e}?", "what is the colour of {e}?", "which colour does {e} have?")),
    "material": Attribute(_of("material"), ("{e} is made of {v}.",), ("what is {e} made of?", "which material is {e} made of?")),
    "price": Attribute(_money, ("{e} costs {v}.", "the price of {e} is {v}."),
                       ("how much is {e}?", "what does {e} cost?", "how much does {e} cost?", "what is the price of {e}?")),
    "room": Attribute(_of("room"), ("{e} is in the {v}.", "you can find {e} in the {v}.", "{e} stands in the {v}."),
                      ("where is {e}?", "in which room is {e}?", "where can I find {e}?")),
    "owner": Attribute(any_name, ("{e} belongs to {v}.", "{v} is the owner of {e}.", "{v} owns {e}."),
                       ("whose is {e}?", "who owns {e}?", "who is the owner of {e}?", "to whom does {e} belong?")),
    "age": Attribute(lambda w: f"{_few(w)} years", ("{e} is {v} old.",), ("how old is {e}?", "what is the age of {e}?")),
    "maker": Attribute(any_name, ("{v} made {e}.", "{e} was made by {v}."), ("who made {e}?", "who is the maker of {e}?")),
    "weight": Attribute(lambda w: f"{_few(w)} {w.one(['grams', 'kilos'])}", ("{e} weighs {v}.", "the weight of {e} is {v}."),
                        ("how heavy is {e}?", "how much does {e} weigh?", "what is the weight of {e}?")),
    "city": Attribute(_of("city"), ("{e} comes from {v}.", "{e} was bought in {v}."),
                      ("where does {e} come from?", "from which city is {e}?", "where was {e} bought?")),
    "condition": Attribute(lambda w: w.one(["new", "broken", "clean", "dirty", "heavy", "empty", "full", "open", "locked"]),
                           ("{e} is {v}.",), ("how is {e}?", "what is the state of {e}?")),
}  # fmt: skip

KINDS = {"shop": SHOP, "person": PERSON, "thing": THING}
