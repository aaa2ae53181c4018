"""Say in Portuguese what `afina quantise` says; the English sentence is the key."""

__all__ = ["PORTUGUESE", "QUANTISED"]

PORTUGUESE = {
    "error of outputs (%)": "erro das saídas (%)",
    "error of weights (%)": "erro dos pesos (%)",
    "layer": "camada",
    "linear layers": "camadas lineares",
    "before": "antes",
    "after": "depois",
    "before (MB)": "antes (MB)",
    "after (MB)": "depois (MB)",
    "on disk": "no disco",
    "weights in memory, before in 16 bits": "pesos na memória, antes em 16 bits",
    "made in {seconds} s": "feito em {seconds} s",
}

QUANTISED = {
    "{tokens} tokens to calibrate on are few beside the {inputs} inputs of a layer: what is rounded by them may suit no other texts; give more --samples or texts": "{tokens} tokens para calibrar são poucos ao lado das {inputs} entradas de uma camada: o que se arredonda por eles pode não servir a outros textos; dê mais --samples ou textos",
    "groups are of {group} inputs, as {usual} do not divide those of every layer": "os grupos são de {group} entradas, pois {usual} não dividem as de todas as camadas",
    "{count} linear layers stay as they are, as their widths fill no whole words or blocks: {path}": "{count} camadas lineares ficam como estão, pois suas larguras não preenchem palavras ou blocos inteiros: {path}",
    "opening the model's files": "abrindo os arquivos do modelo",
    "quantising layers": "quantizando as camadas",
    "writing what is left as it is": "escrevendo o resto como está",
}
"""Notes and stages."""
