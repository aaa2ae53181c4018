"""The words of the pretraining text: plain lists, all written for this project."""

__all__ = ["ADJECTIVES", "GROUPS", "KNOWN", "LISTS", "NAMES", "NUMBERS", "OPPOSITES", "PT", "SYLLABLES", "VERBS"]


def _listed(text: str) -> list[str]:
    return [item.strip() for item in text.replace("\n", " ").split(",") if item.strip()]


NAMES = {
    "she": _listed(
        "Ana, Maria, Julia, Lucy, Emma, Sara, Clara, Rosa, Helena, Alice, Bianca, Carla, Diana, Elisa, Fernanda, "
        "Gabriela, Isabel, Laura, Marta, Nina, Olga, Paula, Rita, Sofia, Teresa, Vera, Beatriz, Camila, Lia, Mia, Amy, Kate, Inês, Mônica, Sônia, Ângela, Érica, Íris, Cátia, Luísa, Úrsula, Conceição"
    ),
    "he": _listed(
        "Tom, Ben, Paulo, Pedro, Lucas, Marcos, Rui, Daniel, David, Hugo, Igor, Jorge, Leo, Mateus, Nelson, Oscar, Rafael, "
        "Samuel, Tiago, Victor, Bruno, Carlos, Diego, Felipe, Caio, Sam, Max, Jack, Peter, Henry, Simon, João, Antônio, André, Álvaro, Otávio, Sérgio, Fábio, Júlio, Zé, Simão"
    ),
}

SYLLABLES = (
    "ba be bi bo bra ca co cor da de do dra fa fe fi flo ga go gra ja jo ju ka la le li lo lu ma me mi mo mu na ne no nu "
    "pa pe pi po pra qui ra re ri ro ru sa se si so ta te ti to tra tu va ve vi vo xa za ze zi zo bel cam dor fen gal hol "
    "kin lan mar nor pol ran sol tal ver wil ção são rão lé nô pí tú ré lá bê dê cé gó jú".split()
)

NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty".split()
)

LISTS = {
    "colour": _listed("red, blue, green, yellow, white, black, brown, orange, purple, pink, grey"),
    "size": _listed("small, big, tiny, large, long, short, tall, wide, little, huge"),
    "food": _listed(
        "apple, banana, sandwich, cake, soup, salad, pie, orange, pear, egg, cookie, pizza, potato, carrot, tomato, fish, "
        "mango, peach, pancake, piece of bread, piece of cheese, bowl of rice, bowl of beans, plate of pasta, omelette"
    ),
    "drink": _listed(
        "cup of coffee, cup of tea, glass of water, glass of milk, glass of juice, glass of lemonade, mug of hot chocolate"
    ),
    "toy": _listed("ball, doll, kite, puzzle, toy car, drum, robot, teddy bear, board game, toy train, skateboard"),
    "clothes": _listed(
        "hat, coat, shirt, dress, scarf, jacket, sweater, pair of shoes, pair of gloves, pair of socks, belt, skirt, raincoat"
    ),
    "tool": _listed(
        "hammer, knife, ladder, rope, bucket, brush, shovel, saw, needle, wrench, screwdriver, broom, lamp, candle"
    ),
    "thing": _listed(
        "book, key, phone, bag, box, clock, cup, chair, table, letter, map, picture, mirror, pillow, umbrella, radio, basket, "
        "bottle, pencil, notebook, wallet, ring, camera, ticket, newspaper, blanket, suitcase, plate, spoon, vase, guitar"
    ),
    "vehicle": _listed("car, bicycle, bus, truck, boat, train, van, motorcycle, tractor, scooter"),
    "animal": _listed(
        "dog, cat, bird, horse, cow, rabbit, duck, hen, goat, sheep, pig, turtle, frog, mouse, parrot, donkey, pony, fox"
    ),
    "plant": _listed("rose, tree, sunflower, lemon tree, tulip, cactus, apple tree, fern, bush, vine, orchid, daisy"),
    "place": _listed(
        "park, market, school, library, garden, station, hospital, museum, bakery, kitchen, office, harbour, "
        "village, theatre, forest, barn, yard, airport, cafe, hotel, church, playground, workshop, restaurant, pharmacy, square"
    ),
    "room": _listed("kitchen, bedroom, living room, garage, bathroom, attic, hall, office, basement, dining room"),
    "job": _listed(
        "teacher, doctor, nurse, farmer, baker, driver, cook, painter, carpenter, gardener, singer, writer, waiter, tailor, "
        "mechanic, fisherman, dentist, engineer, pilot, plumber, musician, librarian, barber, vet, postman, firefighter"
    ),
    "hobby": _listed(
        "painting, swimming, reading, cooking, dancing, fishing, singing, running, chess, gardening, cycling, photography, "
        "football, sewing, drawing, hiking, surfing, baking"
    ),
    "instrument": _listed("piano, guitar, violin, flute, drums, trumpet, accordion, cello, harp, clarinet"),
    "material": _listed("wood, glass, metal, paper, stone, cotton, wool, plastic, leather, clay, silver, gold"),
    "city": _listed(
        "Lisbon, Paris, London, Rome, Madrid, Berlin, Recife, Curitiba, Salvador, Manaus, Porto, Dublin, Cairo, Tokyo, Lima, "
        "Boston, Toronto, Quito, Belem, Natal, Fortaleza, Bogota, Vienna, Oslo, Athens"
    ),
    "country": _listed("Brazil, Portugal, France, Italy, Spain, Germany, Japan, Peru, Chile, Canada, Egypt, Kenya, Greece"),
    "weekday": _listed("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday"),
    "month": _listed(
        "January, February, March, April, May, June, July, August, September, October, November, December"
    ),
    "season": _listed("spring, summer, autumn, winter"),
    "daypart": _listed("morning, afternoon, evening"),
    "family": _listed("mother, father, sister, brother, grandmother, grandfather, aunt, uncle, cousin"),
    "feeling": _listed("happy, sad, tired, angry, proud, calm, hungry, excited, worried, bored, surprised, thirsty, nervous"),
    "body": _listed("hand, foot, arm, leg, head, knee, back, finger, shoulder, eye, ear, tooth"),
    "product": _listed(
        "bread, soap, tea, honey, cheese, chocolate, jam, candles, shoes, hats, lamps, paper, flowers, toys, books, bags, "
        "chairs, cakes, juice, rice, coffee, wool, plates, knives, oil, sausages, pens, towels, clocks, bicycles"
    ),
    "shopkind": _listed(
        "bakery, bookshop, pharmacy, cafe, restaurant, hotel, flower shop, shoe shop, toy shop, garage, gym, clinic, library, "
        "museum, ice cream shop, tea house, tailor, farm shop, school, pet shop, hardware shop, pizza place, market stall"
    ),
}  # fmt: skip

ADJECTIVES = {
    "food": _listed("sweet, fresh, hot, warm, cold, tasty, ripe, sour, salty, soft, delicious"),
    "drink": _listed("hot, cold, sweet, fresh, warm, strong"),
    "clothes": _listed("new, old, warm, clean, dirty, wet, thick, elegant, soft, torn"),
    "animal": _listed("brave, lazy, friendly, hungry, clever, young, old, quiet, noisy, gentle, wild, shy"),
    "plant": _listed("beautiful, tall, young, green, dry, healthy, pretty, wild"),
    "place": _listed("quiet, old, busy, new, beautiful, noisy, crowded, famous, empty, clean, sunny"),
    "": _listed(
        "old, new, broken, heavy, light, clean, dirty, cheap, expensive, strange, pretty, simple, useful, lost, nice"
    ),
}

GROUPS = {
    "fruit": _listed("apples, bananas, oranges, pears, mangoes, grapes, peaches, lemons, pineapples, strawberries"),
    "vegetable": _listed("carrots, potatoes, onions, tomatoes, beans, cabbage, lettuce, peas, pumpkins, peppers"),
    "animal": _listed("dogs, cats, horses, cows, lions, elephants, monkeys, sheep, tigers, rabbits, goats"),
    "bird": _listed("parrots, ducks, hens, eagles, owls, swans, penguins, pigeons, crows"),
    "colour": LISTS["colour"],
    "tool": _listed("hammers, saws, ladders, wrenches, shovels, screwdrivers, brushes"),
    "vehicle": _listed("cars, buses, trucks, trains, boats, bicycles, planes, motorcycles"),
    "drink": _listed("water, milk, juice, coffee, tea, lemonade, hot chocolate"),
    "day of the week": LISTS["weekday"],
    "month": LISTS["month"],
    "season": LISTS["season"],
    "instrument": LISTS["instrument"],
    "job": LISTS["job"],
    "piece of furniture": _listed("tables, chairs, beds, sofas, desks, shelves, wardrobes"),
    "piece of clothing": _listed("hats, coats, shirts, dresses, socks, scarves, gloves, trousers"),
    "sport": _listed("football, swimming, tennis, running, cycling, volleyball, basketball, surfing"),
    "part of the body": _listed("hands, feet, arms, legs, eyes, ears, knees, shoulders"),
}

OPPOSITES = [
    pair.split("-")
    for pair in _listed(
        "big-small, hot-cold, old-new, tall-short, fast-slow, happy-sad, clean-dirty, open-closed, full-empty, light-heavy, "
        "day-night, early-late, easy-difficult, rich-poor, wet-dry, loud-quiet, strong-weak, near-far, up-down, left-right, "
        "hard-soft, good-bad, cheap-expensive, thick-thin, wide-narrow, first-last, inside-outside, yes-no, black-white, "
        "young-old, awake-asleep, sweet-bitter, summer-winter, bright-dark, right-wrong, safe-dangerous, high-low"
    )
]

# Base, third person, past, -ing and past participle; and the list its object comes from.
VERBS = [
    (*row.split()[:5], row.split()[5].split("/"))
    for row in _listed(
        "eat eats ate eating eaten food, cook cooks cooked cooking cooked food, buy buys bought buying bought food/thing/toy/"
        "clothes/tool/plant, make makes made making made food/toy/clothes, find finds found finding found thing/toy/animal/"
        "tool/clothes, carry carries carried carrying carried thing/tool/animal, drink drinks drank drinking drunk drink, "
        "paint paints painted painting painted thing/vehicle/toy, fix fixes fixed fixing fixed thing/toy/vehicle/tool, "
        "wash washes washed washing washed clothes/vehicle/animal, sell sells sold selling sold food/thing/vehicle/clothes, "
        "see sees saw seeing seen animal/vehicle/plant, draw draws drew drawing drawn animal/plant/vehicle, want wants wanted "
        "wanting wanted food/drink/toy/clothes, lose loses lost losing lost thing/toy/clothes, bring brings brought bringing "
        "brought food/drink/thing/tool, feed feeds fed feeding fed animal, water waters watered watering watered plant, break "
        "breaks broke breaking broken thing/toy/tool, wear wears wore wearing worn clothes, share shares shared sharing "
        "shared food/toy/drink, borrow borrows borrowed borrowing borrowed thing/tool/vehicle, clean cleans cleaned cleaning "
        "cleaned thing/vehicle/tool, hide hides hid hiding hidden thing/toy/food, drive drives drove driving driven vehicle, "
        "open opens opened opening opened thing, plant plants planted planting planted plant, follow follows followed "
        "following followed animal, choose chooses chose choosing chosen food/thing/toy/clothes/drink, need needs needed "
        "needing needed tool/thing/clothes, give gives gave giving given food/drink, forget forgets forgot forgetting "
        "forgotten thing/clothes/tool"
    )
]  # fmt: skip

# Questions with one answer, the same in every document that has them.
KNOWN = [
    tuple(part.strip() for part in row.split("|"))
    for row in """
sun | The sun rises in the east and sets in the west. | Where does the sun rise? | The sun rises in the east.
ice | Ice is frozen water. | What is ice? | Ice is frozen water.
bees | Bees make honey. | What do bees make? | Bees make honey.
cows | Cows give milk. | What do cows give us? | Cows give us milk.
hens | Hens lay eggs. | Which animal lays eggs? | Hens lay eggs.
week | A week has seven days. | How many days are there in a week? | There are seven days in a week.
year | A year has twelve months. | How many months are there in a year? | There are twelve months in a year.
day | A day has twenty-four hours. | How many hours are there in a day? | There are twenty-four hours in a day.
hour | One hour has sixty minutes. | How many minutes are in one hour? | There are sixty minutes in one hour.
dog | A dog has four legs. | How many legs does a dog have? | A dog has four legs.
bird | A bird has two legs and two wings. | How many legs does a bird have? | A bird has two legs.
spider | A spider has eight legs. | How many legs does a spider have? | A spider has eight legs.
hand | A hand has five fingers. | How many fingers does a hand have? | A hand has five fingers.
sky | On a clear day the sky is blue. | What colour is the sky on a clear day? | The sky is blue.
grass | Grass is green. | What colour is grass? | Grass is green.
snow | Snow is white and cold. | What colour is snow? | Snow is white.
banana | A ripe banana is yellow. | What colour is a ripe banana? | A ripe banana is yellow.
coal | Coal is black. | What colour is coal? | Coal is black.
doctor | A doctor helps sick people. | Who helps sick people? | A doctor helps sick people.
baker | A baker makes bread. | Who makes bread? | A baker makes bread.
farmer | A farmer grows food. | Who grows food? | A farmer grows food.
teacher | A teacher works in a school. | Where does a teacher work? | A teacher works in a school.
nurse | A nurse works in a hospital. | Where does a nurse work? | A nurse works in a hospital.
librarian | A librarian works in a library. | Where does a librarian work? | A librarian works in a library.
fish | Fish live in water. | Where do fish live? | Fish live in water.
nest | Birds build nests in trees. | Where do birds build their nests? | Birds build their nests in trees.
umbrella | People use an umbrella when it rains. | When do people use an umbrella? | People use an umbrella when it rains.
knife | A knife is used to cut food. | What is a knife used for? | A knife is used to cut food.
broom | A broom is used to sweep the floor. | What is a broom used for? | A broom is used to sweep the floor.
key | A key opens a door. | What does a key do? | A key opens a door.
clock | A clock shows the time. | What does a clock show? | A clock shows the time.
pen | A pen is used to write. | What is a pen used for? | A pen is used to write.
bed | People sleep in a bed. | Where do people sleep? | People sleep in a bed.
bread | Bread is made from flour and water. | What is bread made from? | Bread is made from flour and water.
cheese | Cheese is made from milk. | What is cheese made from? | Cheese is made from milk.
wool | Wool comes from sheep. | Where does wool come from? | Wool comes from sheep.
brazil | The capital of Brazil is Brasilia. | What is the capital of Brazil? | The capital of Brazil is Brasilia.
portugal | The capital of Portugal is Lisbon. | What is the capital of Portugal? | The capital of Portugal is Lisbon.
france | The capital of France is Paris. | What is the capital of France? | The capital of France is Paris.
italy | The capital of Italy is Rome. | What is the capital of Italy? | The capital of Italy is Rome.
spain | The capital of Spain is Madrid. | What is the capital of Spain? | The capital of Spain is Madrid.
japan | The capital of Japan is Tokyo. | What is the capital of Japan? | The capital of Japan is Tokyo.
peru | The capital of Peru is Lima. | What is the capital of Peru? | The capital of Peru is Lima.
egypt | The capital of Egypt is Cairo. | What is the capital of Egypt? | The capital of Egypt is Cairo.
winter | In winter it is cold. | Is it hot or cold in winter? | It is cold in winter.
summer | In summer it is hot. | Is it hot or cold in summer? | It is hot in summer.
moon | We see the moon at night. | When do we see the moon? | We see the moon at night.
lemon | A lemon is sour. | Is a lemon sweet or sour? | A lemon is sour.
honey | Honey is sweet. | Is honey sweet or sour? | Honey is sweet.
elephant | An elephant is bigger than a mouse. | Which is bigger, an elephant or a mouse? | An elephant is bigger.
train | A train is faster than a bicycle. | Which is faster, a train or a bicycle? | A train is faster.
iron | A stone is heavier than a feather. | Which is heavier, a stone or a feather? | A stone is heavier.
eyes | We see with our eyes. | What do we see with? | We see with our eyes.
ears | We hear with our ears. | What do we hear with? | We hear with our ears.
rain | Rain falls from the clouds. | Where does rain come from? | Rain comes from the clouds.
fire | Fire is hot and can burn you. | Why is fire dangerous? | Fire is hot and can burn you.
seeds | Plants grow from seeds. | What do plants grow from? | Plants grow from seeds.
apple | Apples grow on trees. | Where do apples grow? | Apples grow on trees.
carrot | Carrots grow under the ground. | Where do carrots grow? | Carrots grow under the ground.
night | It is dark at night. | Is it light or dark at night? | It is dark at night.
""".strip().splitlines()
]

# Portuguese: nouns with gender and English; adjectives in both genders; verb phrases, past, with English.
PT = {
    "noun": [
        tuple(item.split("-"))
        for item in _listed(
            "o-gato-cat, o-cachorro-dog, a-casa-house, o-livro-book, a-mesa-table, a-cadeira-chair, o-carro-car, a-flor-flower, "
            "o-pão-bread, a-maçã-apple, o-leite-milk, a-água-water, o-café-coffee, a-chave-key, o-chapéu-hat, a-porta-door, "
            "a-janela-window, o-peixe-fish, a-rua-street, a-escola-school, o-jardim-garden, a-praia-beach, o-mercado-market, "
            "o-rio-river, a-árvore-tree, o-pássaro-bird, a-camisa-shirt, o-barco-boat, a-bola-ball, o-bolo-cake, a-sopa-soup, "
            "o-relógio-clock, a-carta-letter, a-faca-knife, o-copo-cup, a-cidade-city, o-telefone-phone, a-cozinha-kitchen, o-avião-plane, o-limão-lemon, "
            "a-lâmpada-lamp, o-chá-tea, o-violão-guitar, o-açúcar-sugar, a-música-song, o-ônibus-bus, a-lição-"
            "lesson, o-sítio-farm, a-estação-station, o-fogão-stove, a-máquina-machine, o-lápis-pencil, "
            "o-túnel-tunnel, o-armário-cupboard, o-caminhão-truck"
        )
    ],
    "adjective": [
        tuple(item.split("-"))
        for item in _listed(
            "pequeno-pequena-small, bonito-bonita-beautiful, novo-nova-new, velho-velha-old, branco-branca-white, preto-preta-"
            "black, vermelho-vermelha-red, amarelo-amarela-yellow, limpo-limpa-clean, frio-fria-cold, grande-grande-big, "
            "verde-verde-green, azul-azul-blue, quente-quente-hot, barato-barata-cheap, caro-cara-expensive, rápido-rápida-fast, "
            "macio-macia-soft, cheio-cheia-full, vazio-vazia-empty, pesado-pesada-heavy, leve-leve-light"
        )
    ],
    "verb": [
        tuple(item.split("-"))
        for item in _listed(
            "comprou-bought-comprar, viu-saw-ver, vendeu-sold-vender, encontrou-found-encontrar, perdeu-lost-perder, "
            "desenhou-drew-desenhar, limpou-cleaned-limpar, pintou-painted-pintar, mostrou-showed-mostrar, trouxe-brought-trazer, lavou-washed-lavar, levou-carried-levar, quebrou-broke-quebrar, "
            "escolheu-chose-escolher, abriu-opened-abrir, esqueceu-forgot-esquecer"
        )
    ],
    "number": "zero um dois três quatro cinco seis sete oito nove dez".split(),
    "line": _listed(
        "os pães são frescos, as maçãs estão maduras, os limões são azedos, às vezes chove à tarde, nós não vamos à praia, "
        "a água está fria, o café é forte, o ônibus chegou às oito, elas têm três irmãos, ele põe açúcar no chá, amanhã é sábado, "
        "a lição é fácil, o avô conta histórias, as crianças estão no jardim, o pôr do sol é bonito, você vem também, já é tarde, "
        "o médico está no hospital, os aviões são rápidos, há muitas pessoas na estação, aqui ninguém fala inglês, até amanhã, o irmão e a irmã dão as mãos, o avô e a avó têm um cão, o céu é azul, o pé dói, "
        "a vovó faz pão de queijo, os corações são vermelhos, índios e portugueses, o código é secreto, é útil e simples, "
        "órgão e violão são instrumentos, a última estação é longe, água é vida, às três horas, ótimo trabalho, é preciso esperar"
    ),
    "weekday": _listed("segunda-feira, terça-feira, quarta-feira, quinta-feira, sexta-feira, sábado, domingo"),
    "job": _listed("professor, médico, padeiro, motorista, cozinheiro, pintor, jardineiro, músico, dentista, pescador, médica, eletricista, porteiro, escritor, técnico, mecânico"),
}  # fmt: skip
