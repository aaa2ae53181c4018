"""Say in Portuguese what `afina compare` says; the English sentence is the key."""

__all__ = ["PORTUGUESE"]

PORTUGUESE = {
    "peak memory (MB)": "pico de memória (MB)",
    "rows/s": "linhas/s",
    "tokens/s": "tokens/s",
    "{name}: worth it.": "{name}: vale a pena.",
    "{name}: not worth it.": "{name}: não vale a pena.",
    "{name}: it cannot be told yet whether it is worth it.": "{name}: ainda não se pode dizer se vale a pena.",
    "It is {percent}% smaller and {times} times as fast.": "É {percent}% menor e {times} vezes tão rápido.",
    "It is {percent}% larger and {times} times as fast.": "É {percent}% maior e {times} vezes tão rápido.",
    "It is neither smaller nor faster.": "Não é nem menor nem mais rápido.",
    "On {source} it loses {loss}%{interval} of {measure}, more than the {limit}% allowed.": "Em {source} perde {loss}%{interval} de {measure}, mais do que os {limit}% permitidos.",
    "On {source} it loses {loss}%{interval} of {measure} as measured, within the {limit}% allowed, but so few items cannot rule out more: measure on more.": "Em {source} perde {loss}%{interval} de {measure} no que foi medido, dentro dos {limit}% permitidos, mas tão poucos itens não excluem mais: meça com mais.",
    "On {source}, where it may lose most, it gains {gain}%{interval} of {measure}.": "Em {source}, onde pode perder mais, ganha {gain}%{interval} de {measure}.",
    "On {source}, where it may lose most, it loses {loss}%{interval} of {measure}, within the {limit}% allowed.": "Em {source}, onde pode perder mais, perde {loss}%{interval} de {measure}, dentro dos {limit}% permitidos.",
}
