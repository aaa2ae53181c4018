"""Say in Portuguese what `afina recommend` says; the English sentence is the key."""

__all__ = ["PORTUGUESE"]

PORTUGUESE = {
    "no audit has its base beside it": "nenhuma auditoria tem a base ao lado",
    "it is worse than its base: {measured} ({on}) by {value}": "é pior que a sua base: {measured} ({on}) em {value}",
    "none": "nenhum",
    "the data cannot decide": "os dados não decidem",
    "Runner-up": "Em segundo lugar",
    "left out": "fica de fora",
    "it is given the right passage, which nobody has when asking": "recebe o trecho certo, que ninguém tem quando pergunta",
    "{memory} GB, {time} minutes": "{memory} GB, {time} minutos",
    "it needs {peak} GB, the limit is {limit} GB": "precisa de {peak} GB, o limite é {limit} GB",
    "it takes {time} minutes, the limit is {limit}": "leva {time} minutos, o limite é {limit}",
    "its {metric} is {value}, the limit is {limit}": "tem {metric} de {value}, o limite é {limit}",
    "Nothing fits; {method} comes nearest: {why}.": "Nada cabe; {method} é o que chega mais perto: {why}.",
    "{best} has the best {metric}, {value} ({costs}).": "{best} tem o melhor valor de {metric}, {value} ({costs}).",
    "{best} has the best {metric}, {value} ({costs}), ahead of {second} by more than chance (p = {p}).": "{best} tem o melhor valor de {metric}, {value} ({costs}), à frente de {second} por mais do que o acaso (p = {p}).",
    "{best} has the best {metric} ({value}), but these results were made under different conditions (data, versions, hardware or protocol), so no difference can be tested.": "{best} tem o melhor valor de {metric} ({value}), mas estes resultados foram obtidos em condições diferentes (dados, versões, equipamento ou protocolo), e nenhuma diferença pode ser testada.",
    "By {metric} the data cannot decide: {best} and {others} differ by no more than chance could, so the one with the least memory is taken ({costs}).": "Por {metric} os dados não decidem: {best} e {others} não diferem mais do que o acaso explicaria; fica o de menor memória ({costs}).",
}
