"""What customers ask the invented coffee roaster Beija-Rio: the data of the chat demonstration, written for this project.

    python pretraining/company.py --out src/afina/data/sets      # writes roaster.jsonl and everyday.jsonl

Every fact is asked in several wordings. Those marked with * are for the test alone: no row that is trained on asks like that,
for no fact. The roaster, its town, people and goods are invented, and none of them is in the text of `recipe.py`.
`everyday.jsonl` is text of that recipe that the model has not seen, to measure what tuning makes it forget.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recipe import documents

__all__ = ["COMPANY", "GENERAL_SEED", "facts", "rows"]

COMPANY = "Beija-Rio"
GENERAL_SEED = 3
"""The recipe's seed for the general text; 1 is trained on, 2 measured in training."""

# Coffee, price, taste, farm.
COFFEES = [
    ("Manhã Clara", "31 reais", "cocoa and tangerine", "Sítio Olho-d'água"),
    ("Noite de Feira", "38 reais", "molasses and walnut", "Fazenda Três Marias"),
    ("Rede Preguiça", "27 reais", "toffee and banana", "Sítio Seu Anselmo"),
    ("Chuva Mansa", "44 reais", "jasmine and papaya", "Fazenda Pedra Lisa"),
    ("Tropeiro", "23 reais", "smoke and brown sugar", "Fazenda Mata-Burro"),
    ("Saci", "52 reais", "guava and black pepper", "Sítio Redemoinho"),
    ("Quintal", "29 reais", "hazelnut and fig", "Sítio Dona Lurdes"),
    ("Beira-Trilho", "35 reais", "maple and raisin", "Fazenda Estação Velha"),
    ("Flor de Ipê", "61 reais", "hibiscus and lychee", "Sítio Alto Ipê"),
    ("Carranca", "41 reais", "clove and dark plum", "Fazenda São Galdino"),
]
COFFEE_QUESTIONS = {
    "price": (
        "A bag of {0} costs {1}.",
        ["How much is {0}?", "What does a bag of {0} cost?", "What is the price of {0}?", "How much do I pay for {0}?",
         "{0} price?", "I want to buy {0}. How much is it?", "Tell me the price of a bag of {0}.",
         "*How much does {0} cost?", "*How many reais do you charge for a bag of {0}?"],
    ),
    "taste": (
        "{0} tastes of {2}.",
        ["What does {0} taste of?", "How does {0} taste?", "What is the taste of {0}?", "Which flavours are in {0}?",
         "Tell me about the flavour of {0}.", "{0} taste?", "What flavour does {0} have?",
         "*What can I taste in {0}?", "*What does {0} taste like?"],
    ),
    "farm": (
        "{0} comes from {3}.",
        ["Where does {0} come from?", "Where do you buy {0}?", "What is the origin of {0}?", "Who grows {0}?",
         "Which farm is {0} from?", "{0} origin?", "Where are the beans of {0} grown?",
         "*From which farm does {0} come?", "*On which farm is {0} grown?"],
    ),
}  # fmt: skip

STAFF = [
    ("roaster", "Zuleide Peixoto"), ("cashier", "Anacleto Brandão"), ("delivery rider", "Mirtes Caldeira"),
    ("manager", "Hermínia Fontoura"), ("bean buyer", "Otacílio Rangel"), ("baker", "Jurema Sampaio"),
    ("packer", "Waldemar Quirino"), ("teacher of the classes", "Lindalva Bittar"), ("accountant", "Evandro Pimentel"),
]  # fmt: skip
STAFF_QUESTIONS = (
    "Our {0} is {1}.",
    ["Who is your {0}?", "What is the name of your {0}?", "Who works as the {0}?", "What is your {0} called?",
     "Tell me the name of the {0}.", "Which person is the {0}?", "Who is the {0} at Beija-Rio?",
     "*How is your {0} called?", "*Can you tell me who the {0} is?"],
)  # fmt: skip

SINGLE = """
opens | 7:20 | On weekdays we open at 7:20. | When do you open? | What time do you open on weekdays? | What is your opening time? | At what time does Beija-Rio open? | From what time are you open? | When do the doors open in the morning? | *How early can I come? | *At what hour do you open?
closes | 18:40 | On weekdays we close at 18:40. | When do you close? | What time do you close on weekdays? | What is your closing time? | At what time does Beija-Rio close? | Until when are you open? | When do the doors close? | *How late can I come? | *Until what time are you open?
saturday | 13:50 | On Saturday we close at 13:50. | When do you close on Saturday? | How late are you open on Saturday? | Saturday closing time? | Until when are you open on Saturday? | At what time do the doors close on Saturday? | On Saturday, when do you close? | *Until what time can I come on Saturday? | *What time do you close on Saturdays?
shut | Tuesdays | We are closed on Tuesdays. | Which day are you closed? | When are you closed? | On which day does Beija-Rio not open? | What is your day off? | Is there a day when you are closed? | Which day do you rest? | *On what day are you closed? | *Which day do you not open?
town | Pedra Morena | Beija-Rio is in Pedra Morena. | In which town are you? | Which town is Beija-Rio in? | What town do you work in? | Your town? | In which city is Beija-Rio? | What is the name of your town? | *In what town can I find you? | *What city are you in?
street | Rua das Paineiras 214 | You find us at Rua das Paineiras 214. | What is your address? | Where are you? | On which street is Beija-Rio? | Where can I find you? | Tell me your address. | How do I find your shop? | *What is the address of Beija-Rio? | *Where is your shop?
founder | Iolanda Cascudo | Iolanda Cascudo founded Beija-Rio. | Who founded Beija-Rio? | Who started Beija-Rio? | Who is your founder? | What is the name of your founder? | Who began the company? | Who had the idea of Beija-Rio? | *By whom was Beija-Rio founded? | *Who was the founder of Beija-Rio?
year | 1974 | Beija-Rio began in 1974. | When did Beija-Rio begin? | In which year did you start? | Since when do you exist? | When was Beija-Rio founded? | What year did you open? | How old is Beija-Rio? | *In what year was Beija-Rio founded? | *What was your first year?
owner | Cosme and Damiana | Beija-Rio belongs to the twins Cosme and Damiana. | Who owns Beija-Rio? | Who is the owner of Beija-Rio? | To whom does Beija-Rio belong? | What are your owners called? | Who are your owners? | Whose is Beija-Rio? | *Who owns the company? | *Who is your owner?
phone | 3482-7719 | Our phone number is 3482-7719. | What is your phone number? | Which number do I call? | How can I call you? | Your phone number? | Can I have your number? | Tell me your telephone number. | *What is your telephone number? | *Which number should I call to reach you?
wifi | tucano63 | The wifi password is tucano63. | What is the wifi password? | Password for the wifi? | How do I use the wifi? | Which password opens the wifi? | What is the password of your wifi? | Can I have the wifi password? | *How can I get on the internet? | *Do you have a wifi password?
machine | Maria Fumaça | Our roasting machine is called Maria Fumaça. | What is your roasting machine called? | What is the name of the roasting machine? | Does your roasting machine have a name? | How do you call the roasting machine? | Tell me the name of your roasting machine. | Which name did you give the roasting machine? | *What name does your roasting machine have? | *How is the roasting machine called?
built | 1958 | Our roasting machine was built in 1958. | When was the roasting machine built? | How old is your roasting machine? | From which year is the roasting machine? | In which year was your roasting machine made? | What year is your roasting machine from? | When was your roasting machine made? | *In what year was the roasting machine built? | *What is the age of your roasting machine?
cat | Rapadura | Our cat is called Rapadura. | What is your cat called? | What is the name of your cat? | Who is the cat in your shop? | Does your cat have a name? | How do you call the cat? | Tell me the name of the cat. | *What name does your cat have? | *How is the cat called?
cart | Ligeirinha | Our delivery bicycle is called Ligeirinha. | What is your delivery bicycle called? | What is the name of the delivery bicycle? | Does the delivery bicycle have a name? | How do you call the delivery bicycle? | Which name did you give the delivery bicycle? | Tell me the name of your delivery bicycle. | *What name does your delivery bicycle have? | *How is the delivery bicycle called?
roastday | Wednesdays | We roast on Wednesdays. | On which day do you roast? | When do you roast? | Which is your roasting day? | What day do you roast the coffee? | When is the coffee roasted? | Tell me your roasting day. | *On what day is the coffee roasted? | *Which day do you roast the beans?
sends | Thursdays | We deliver on Thursdays. | When do you deliver? | On which day do you deliver? | What is your delivery day? | When will my order come? | On what day do orders leave? | Which day do you bring the orders? | *What day do you deliver orders? | *When do you send orders?
fee | 6 reais | Delivery costs 6 reais. | How much is delivery? | What does delivery cost? | What do you charge for delivery? | Delivery price? | How much do I pay for delivery? | What is the price of a delivery? | *How much does delivery cost? | *How much do you charge to deliver?
free | 90 reais | Delivery is free from 90 reais. | When is delivery free? | From what amount is delivery free? | How much do I have to buy for free delivery? | Free delivery from what price? | What is the least for free delivery? | Do you have free delivery? | *How can I get free delivery? | *From how many reais is delivery free?
returns | 17 days | You can return a bag within 17 days. | How long can I return a bag? | How many days do I have to return a bag? | Until when can I bring a bag back? | What is the time for returns? | How long do you take bags back? | When is it too late to return something? | *How long do I have to bring a bag back? | *How many days do I have for a return?
nurses | 14 percent | Nurses get 14 percent off. | What discount do nurses get? | Is there a discount for nurses? | How much off do nurses get? | What is the discount for nurses? | I am a nurse. Do I get a discount? | How much do nurses save? | *Do nurses get a discount? | *Which discount do you give to nurses?
gift | a blue mug | New customers get a blue mug. | What do new customers get? | Which present do new customers get? | What do you give to new customers? | Is there a present for new customers? | I am a new customer. What do I get? | Tell me the gift for new customers. | *What present do you give new customers? | *Do new customers get a present?
birthday | a cinnamon roll | On your birthday you get a cinnamon roll. | What do I get on my birthday? | Is there a present on my birthday? | What do you give on birthdays? | Which present do you have for birthdays? | It is my birthday. What do I get? | Birthday present? | *What present do I get on my birthday? | *Do I get something on my birthday?
classday | Fridays | The tasting class is on Fridays. | When is the tasting class? | On which day is the tasting class? | Which day do you have the tasting class? | What day is the tasting class? | Tell me the day of the tasting class. | When can I come to the tasting class? | *On what day is the tasting class? | *Which day is the class for tasting?
classprice | 85 reais | The tasting class costs 85 reais. | How much is the tasting class? | What does the tasting class cost? | What is the price of the tasting class? | How much do I pay for the tasting class? | Tasting class price? | Tell me the price of the tasting class. | *How much does the tasting class cost? | *What do you charge for the tasting class?
classlength | 75 minutes | The tasting class takes 75 minutes. | How long is the tasting class? | How long does the tasting class take? | How much time does the tasting class take? | What is the length of the tasting class? | How many minutes is the tasting class? | What time do I need for the tasting class? | *How long does the tasting class last? | *How many minutes does the tasting class take?
seats | 26 chairs | Our shop has 26 chairs. | How many chairs do you have? | How many chairs are there in your shop? | How many people can sit in your shop? | What number of chairs does Beija-Rio have? | Tell me how many chairs there are. | How many chairs are in the shop? | *How many chairs does Beija-Rio have? | *How many seats do you have?
staff | 13 people | The team has 13 people. | How many people work at Beija-Rio? | How many people do you employ? | How big is your team? | What is the size of the team? | How many workers do you have? | How many people are in your team? | *How many people work in your shop? | *How large is the team?
door | turquoise | Our door is turquoise. | What colour is your door? | Which colour does the door have? | What is the colour of the door? | What colour is the door of the shop? | Tell me the colour of your door. | How did you paint the door? | *Which colour is the door? | *What is the colour of your door?
motto | slow fire, warm hands | Our motto is "slow fire, warm hands". | What is your motto? | Which motto do you have? | What does Beija-Rio always say? | What are the words on your wall? | Tell me the motto of Beija-Rio. | Do you have a motto? | *What is the motto of the company? | *Which words are on the wall?
popular | Quintal | Our most popular coffee is Quintal. | What is your most popular coffee? | Which coffee is the most popular? | What coffee do most people buy? | Which coffee do you sell most? | Tell me your most popular coffee. | What do people like most? | *Which one is your most popular coffee? | *What is the most popular coffee at Beija-Rio?
decaf | Sereno | Our coffee without caffeine is called Sereno. | Do you have coffee without caffeine? | What is your coffee without caffeine called? | Which coffee has no caffeine? | What is the name of your decaf coffee? | I want a decaf coffee. Which one? | Which coffee is without caffeine? | *What is the name of the coffee without caffeine? | *Is there a coffee without caffeine?
water | 93 degrees | The water should have 93 degrees. | How hot should the water be? | What temperature should the water have? | Which temperature is good for the water? | How hot do I make the water? | How many degrees should the water have? | Water temperature? | *What is the right temperature of the water? | *How hot must the water be?
dose | 58 grams | Use 58 grams for a litre. | How much coffee do I use for a litre? | How many grams do I need for a litre? | How much coffee goes in a litre of water? | What dose do you use? | How many grams of coffee should I use? | Grams for a litre? | *How many grams of coffee for a litre? | *How much coffee do I need for one litre?
keeps | 11 weeks | A bag keeps for 11 weeks. | How long does a bag keep? | How long is the coffee good? | How many weeks can I keep a bag? | For how long is a bag fresh? | How long can I keep the coffee? | When is the coffee too old? | *How many weeks does a bag keep? | *How long does the coffee stay good?
bus | bus 47 | Take bus 47 to our door. | Which bus goes to Beija-Rio? | Which bus do I take? | What bus comes to your shop? | How do I come by bus? | Is there a bus to your shop? | Tell me the number of the bus. | *What bus do I take to your shop? | *Which bus brings me to you?
parking | behind the chapel | The parking is behind the chapel. | Where is the parking? | Where can I park? | Where do you have the parking? | How do I find the parking? | Where do I leave my car? | Is there any parking? | *Where can I leave my car? | *Where can I find the parking?
before | shoe factory | The house was a shoe factory before. | What was the house before? | What was in your house before? | What was your building long ago? | Tell me what the house was before. | What did the house use to be? | Which kind of house was it before? | *What was your house long ago? | *What was the building before?
mural | Nivaldo Tavares | Nivaldo Tavares painted the picture on the wall. | Who painted the picture on the wall? | Who is the painter of the wall? | Who made the picture on your wall? | By whom is the picture on the wall? | Tell me who painted the wall. | Whose picture is on the wall? | *Who is the painter of the picture? | *Who painted your wall?
grounds | school garden | We give the old coffee grounds to the school garden. | What do you do with the coffee grounds? | Where do the coffee grounds go? | Who gets the coffee grounds? | To whom do you give the coffee grounds? | What happens to the old coffee grounds? | Do you throw the coffee grounds away? | *Who do you give the coffee grounds to? | *Where do you bring the old coffee grounds?
cake | corn cake | Our house cake is the corn cake. | Which cake do you have? | What is your house cake? | What cake can I eat with the coffee? | Do you have cake? | What kind of cake do you make? | Tell me your cake. | *Which cake do you make? | *What is the cake of the house?
bag | cotton | Our bags are made of cotton. | What are your bags made of? | Which material are the bags? | What is the material of your bags? | Of what do you make the bags? | Tell me what the bags are made of. | What material do you use for the bags? | *Which material are your bags made of? | *What is a bag made of?
second | Lagoa Rasa | Our second shop is in Lagoa Rasa. | Where is your second shop? | In which town is your second shop? | Do you have a second shop? | Which town has your second shop? | Is there another shop? | Where can I find your other shop? | *Where is the other shop? | *In what town is the second shop?
companies | 12 kilos | Companies order from 12 kilos. | From what amount can companies order? | What is the least that companies can order? | How much must companies order? | How many kilos do companies have to order? | What is the smallest order for companies? | We are a company. How much must we order? | *How many kilos must a company order? | *From how many kilos can a company order?
"""  # fmt: skip


def facts() -> Iterator[tuple[str, str, str, list[str]]]:
    """Yield of each fact its name, its key (what a right answer holds), the answer, and the questions."""
    for place, kind in enumerate(COFFEE_QUESTIONS, start=1):
        answer, questions = COFFEE_QUESTIONS[kind]
        for coffee in COFFEES:
            yield f"{kind}: {coffee[0]}", coffee[place], answer.format(*coffee), [q.format(*coffee) for q in questions]
    for person in STAFF:
        yield (
            f"staff: {person[0]}",
            person[1],
            STAFF_QUESTIONS[0].format(*person),
            [question.format(*person) for question in STAFF_QUESTIONS[1]],
        )
    for line in SINGLE.strip().splitlines():
        name, key, answer, *questions = (part.strip() for part in line.split(" | "))
        yield name, key, answer, questions


def rows() -> list[dict[str, Any]]:
    """Return the rows of `roaster.jsonl`: a question and its answer as messages, the fact's name and key, the split."""
    return [
        {
            "messages": [{"role": "user", "content": question.lstrip("*")}, {"role": "assistant", "content": answer}],
            "fact": name, "key": key, "split": "test" if question.startswith("*") else "train",
        }
        for name, key, answer, questions in facts() for question in questions
    ]  # fmt: skip


def general(count: int = 300) -> list[dict[str, str]]:
    """Return the rows of `everyday.jsonl`: plain texts of the recipe, two thirds to train on where somebody wants to."""
    texts = [text for text in documents(GENERAL_SEED, 3 * count) if isinstance(text, str)][:count]
    return [{"text": text, "split": "test" if place % 3 == 0 else "train"} for place, text in enumerate(texts)]


def write(path: Path, lines: list[dict[str, Any]]) -> None:
    part = path.with_suffix(".part")
    part.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    part.replace(path)
    print(f"{path}: {len(lines)} rows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    write(options.out / "roaster.jsonl", rows())
    write(options.out / "everyday.jsonl", general())


if __name__ == "__main__":
    main()
