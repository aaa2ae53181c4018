"""Write the packaged facts of the invented roaster as documents in two wordings, with questions to train on and to ask.

    python benchmarks/rag_roaster.py --out roaster
    afina rag compare studies/rag_roaster.yaml --out results/roaster

`documents/handbook.md` tells every fact in the words of the training answers, `documents/leaflet.md` in others. What is asked
is each fact in a wording that was trained on and in two that were not, and questions that the documents do not tell.
"""

import argparse
import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from afina.whole_file import write_text

KINDS = {
    "price": "For {key} you take home a bag of {of}.",
    "taste": "In a cup of {of} people find {key}.",
    "farm": "The beans of {of} are grown at {key}.",
    "staff": "{key} works here as {of}.",
}
"""Second wordings of facts of which there are several of a kind."""
SINGLES = {
    "opens": "From Monday to Friday the doors open at 7:20.",
    "closes": "From Monday to Friday the last guest leaves at 18:40.",
    "saturday": "At the end of the week, on Saturday, it is over at 13:50.", "shut": "Nobody is here on Tuesdays.",
    "town": "The roastery stands in Pedra Morena.", "street": "The house is number 214: Rua das Paineiras 214.",
    "founder": "It was started by Iolanda Cascudo.", "year": "The first coffee was roasted here in 1974.",
    "owner": "Today the house is that of Cosme and Damiana, who are twins.", "phone": "Call us: 3482-7719.",
    "wifi": "To go on the internet type tucano63.", "machine": "The old roasting machine answers to Maria Fumaça.",
    "built": "A smith made the machine in 1958.", "cat": "Rapadura is the cat that sleeps on the sacks.",
    "cart": "Orders ride on Ligeirinha, a bicycle.", "roastday": "The fire is lit on Wednesdays.",
    "sends": "Orders leave the house on Thursdays.", "fee": "To bring it to your home we take 6 reais.",
    "free": "Who buys for 90 reais pays nothing for the delivery.", "returns": "Bring a bag back in the first 17 days.",
    "nurses": "A nurse pays 14 percent less.", "gift": "Your first order comes with a blue mug.",
    "birthday": "Who has a birthday is given a cinnamon roll.", "classday": "We teach tasting on Fridays.",
    "classprice": "To learn tasting you pay 85 reais.", "classlength": "A lesson in tasting is over after 75 minutes.",
    "seats": "There is room for you on 26 chairs.", "staff": "All in all 13 people earn their living here.",
    "door": "Look for the house with the turquoise entrance.", "motto": "Above the counter stands: slow fire, warm hands.",
    "popular": "Most guests order Quintal.", "decaf": "Who sleeps badly drinks Sereno, which has no caffeine.",
    "water": "Let the kettle cool to 93 degrees.", "dose": "A litre takes 58 grams.",
    "keeps": "Drink what you buy within 11 weeks.", "bus": "The bus that stops here is bus 47.",
    "parking": "Leave your car behind the chapel.", "before": "Long ago the building was a shoe factory.",
    "mural": "The wall was painted by Nivaldo Tavares.", "grounds": "What is left in the filter feeds the school garden.",
    "cake": "With your cup there is corn cake.", "bag": "The beans travel in cotton.",
    "second": "You find us in Lagoa Rasa, too.", "companies": "A company buys 12 kilos or more.",
}  # fmt: skip
NOT_TOLD = """
Do you sell tea? | What is the name of your dog? | Who is your lawyer? | How much is a cup for children?
Do you have a garden? | Which bank do you use? | Is there live music? | How tall is the roaster?
What is the colour of the roof? | Do you ship to Portugal? | Who made the chairs?
What is the salary of the baker? | Which newspaper do you read? | Do you sell milk? | When is your next party?
What is the size of the shop in metres? | Which football team do you like? | How many windows are there?
Who cleans the shop? | What is the weight of the roasting machine? | Do you have a lift?
Which paint is on the floor? | Do you sell grinders? | What is the age of the cashier?
Who wrote your web page? | Do you rent the house? | Is the cat vaccinated? | Who takes the photos?
Which insurance do you have? | What is served at New Year? | How far is the sea? | Do you have a piano?
Who is the mayor of the town? | How many cups do you wash a day? | Which language does the manager learn?
Is smoking allowed? | Do you fix machines? | What is the brand of the oven? | How much sugar do you buy?
Which school do the twins know?
"""
"""Questions that no document tells: every second one is trained on, the others are asked."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True)
    write(parser.parse_args().out)


def write(out: Path) -> None:
    """Write the documents and both tables of questions."""
    lines = (resources.files("afina.data") / "sets" / "roaster.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    answers = {row["fact"]: row["messages"][1]["content"] for row in rows}
    keys = {row["fact"]: row["key"] for row in rows}
    others = {fact: reworded(fact, keys[fact]) for fact in answers}
    write_text(out / "documents" / "handbook.md", document("Handbook of Beija-Rio", answers))
    write_text(out / "documents" / "leaflet.md", document("Welcome to Beija-Rio", others))
    nothing = [text.strip() for line in NOT_TOLD.strip().splitlines() for text in line.split("|")]
    train = [question(row, others) for row in rows if row["split"] == "train"]
    first = {row["fact"]: question(row, others) for row in reversed(rows) if row["split"] == "train"}
    test = [question(row, others) for row in rows if row["split"] == "test"]
    asked = [each for row in test for each in (row, first.pop(row["fact"], None)) if each is not None]
    for name, told, place in (("train", train, 0), ("test", asked, 1)):
        listed = [*told, *({"question": text} for text in nothing[place::2])]
        write_text(out / f"{name}.jsonl", "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in listed))


def reworded(fact: str, key: str) -> str:
    """Return the second wording of a fact."""
    kind, colon, of = fact.partition(": ")
    return KINDS[kind].format(key=key, of=of) if colon else SINGLES[fact]


def document(title: str, sentences: dict[str, str]) -> str:
    """Return Markdown with a section of each kind of fact, a paragraph a fact."""
    return "\n\n".join([f"# {title}", *parts(sentences)]) + "\n"


def parts(sentences: dict[str, str]) -> Iterator[str]:
    """Yield headings and paragraphs."""
    titles = {"price": "Prices", "taste": "Taste", "farm": "Farms", "staff": "Team"}
    last = ""
    for fact, sentence in sentences.items():
        kind, colon, _ = fact.partition(": ")
        now = titles[kind] if colon else "The house"
        if now != last:
            yield f"## {now}"
        last = now
        yield sentence


def question(row: dict[str, Any], others: dict[str, str]) -> dict[str, Any]:
    """Return a row of the table of questions."""
    asked, answered = (message["content"] for message in row["messages"])
    return {
        "question": asked, "answer": answered, "key": row["key"], "fact": row["fact"],
        "passage": [answered, others[row["fact"]]],
    }  # fmt: skip


if __name__ == "__main__":
    main()
