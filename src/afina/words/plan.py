"""Say in Portuguese what a plan says of other machines; the English sentence is the key."""

__all__ = ["PLAN_NOTES", "PORTUGUESE"]

PORTUGUESE = {
    "{memory} GB are free here, which may be too little for {methods}.": "Aqui há {memory} GB livres, o que pode ser pouco para {methods}.",
    "{method}: nothing that was tried makes it fit.": "{method}: nada do que foi tentado o faz caber.",
    "{method} does not fit even with {settings} ({memory}).": "{method} não cabe nem com {settings} ({memory}).",
    "{method} fits with {settings} ({memory})": "{method} cabe com {settings} ({memory})",
    "{method} perhaps fits with {settings} ({memory})": "{method} talvez caiba com {settings} ({memory})",
    "{method}: {other} in its place fits ({memory})": "{method}: {other} no lugar dele cabe ({memory})",
    "what it learns is the same": "o que aprende é o mesmo",
    "{rows} train rows are cut": "{rows} linhas de treino são cortadas",
    "a step computes {times} times as much": "um passo calcula {times} vezes mais",
    "fits": "cabe",
    "yes": "sim",
    "no": "não",
    "perhaps": "talvez",
    "{device} is the cheapest on which all fits.": "{device} é a mais barata em que tudo cabe.",
    "{device} is likely the cheapest on which all fits; the ranges do not tell for sure.": "{device} é provavelmente a mais barata em que tudo cabe; as faixas não dão certeza.",
    "Computed from published figures, not measured: times lie between what is reached at best and at worst, without starting and loading.": "Calculado a partir de dados publicados, não medido: os tempos ficam entre o que se alcança no melhor e no pior caso, sem o início e o carregamento.",
    "{device} ({memory} GB): {runs} fit.": "{device} ({memory} GB): {runs} cabem.",
    "{device} ({memory} GB): {runs} fit, {time} in all, one after another.": "{device} ({memory} GB): {runs} cabem, {time} ao todo, uma depois da outra.",
    "{device} ({memory} GB) has no room for {methods}.": "{device} ({memory} GB) não tem lugar para {methods}.",
    "{device} ({memory} GB) perhaps has room for {methods}: the range reaches beyond.": "{device} ({memory} GB) talvez tenha lugar para {methods}: a faixa vai além.",
    "{amount} at {price} an hour": "{amount} a {price} por hora",
    "{amount} Wh of the card's power": "{amount} Wh da energia da placa",
    "{amount} g of CO2": "{amount} g de CO2",
}

PLAN_NOTES = {
    "fit: {model} is trained with {settings}, as memory has no room for all of its runs otherwise.": "fit: {model} é treinado com {settings}, porque de outro modo a memória não tem lugar para todas as suas execuções.",
    "{label}: memory has no room for all its model's runs (fit: true), so it ran with {settings}: memory and time are of that, what it learns is the same but for draws of dropout.": "{label}: a memória não tem lugar para todas as execuções do modelo (fit: true), por isso rodou com {settings}: memória e tempo são disso, o que aprende é o mesmo, salvo sorteios do dropout.",
    "{device} has no bfloat16 of its own: torch imitates it, which is slower than float32; fp16 or fp32 are better there.": "{device} não tem bfloat16 próprio: o torch o imita, o que é mais lento que float32; lá é melhor usar fp16 ou fp32.",
    "{device} has no bfloat16 of its own; the runs are planned in {list}.": "{device} não tem bfloat16 próprio; as execuções são planejadas em {list}.",
    "precision: auto times steps where it runs; on {device} it is taken to be {list}.": "precision: auto cronometra passos onde roda; em {device} supõe-se que seja {list}.",
    "{device}: nothing but its memory is known, so that no time can be told; it is taken to compute in bfloat16, as cards from 2020 on do.": "{device}: só se conhece a memória, de modo que não se pode dizer o tempo; supõe-se que calcule em bfloat16, como as placas a partir de 2020.",
    "{label}: memory ran out with {rows} rows at once, so it ran with {settings}: memory and time are of that, what it learns is the same but for draws of dropout.": "{label}: faltou memória com {rows} linhas de cada vez, por isso rodou com {settings}: memória e tempo são disso, o que aprende é o mesmo, salvo sorteios do dropout.",
    "{label}: memory ran out as its costs were measured, so it ran with {settings}: memory and time are of that, what it learns is the same but for draws of dropout.": "{label}: faltou memória quando os custos foram medidos, por isso rodou com {settings}: memória e tempo são disso, o que aprende é o mesmo, salvo sorteios do dropout.",
}
