"""Say in Portuguese what `afina demo chat` says; the English sentence is the key."""

__all__ = ["PORTUGUESE"]

PORTUGUESE = {
    "asking {model} …": "perguntando a {model} …",
    "{model} was never told of the company; it makes answers up:": "Ninguém falou da empresa a {model}; ele inventa respostas:",
    "The same questions afterwards, in words that no training question used:": "As mesmas perguntas depois, com palavras que nenhuma pergunta de treino usou:",
    "Of {count} questions about the world {model} got {right} right; what it lost by the tuning:": "De {count} perguntas sobre o mundo, {model} acertou {right}; o que o ajuste fez esquecer:",
    "Of {count} questions about the world {model} got {right} right, and lost none of these.": "De {count} perguntas sobre o mundo, {model} acertou {right}, e não esqueceu nenhuma destas.",
    "of {world} about the world": "de {world} sobre o mundo",
    "right of {questions}": "certas de {questions}",
    "perplexity: answers": "perplexidade: respostas",
    "general text": "texto geral",
    "trainable": "treináveis",
    "seconds": "segundos",
    "Talk with it:": "Converse com ele:",
    "qlora is left out: it needs pip install 'afina[quantised]'.": "qlora fica de fora: precisa de pip install 'afina[quantised]'.",
}
