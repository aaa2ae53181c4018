"""What a conversation, its demonstration and a recommendation say in Portuguese; the English sentence is the key."""

__all__ = ["DEMO", "HELP", "PORTUGUESE", "RECOMMEND"]

PORTUGUESE = {
    "you": "você",
    "model": "modelo",
    "Loading {name} …": "Carregando {name} …",
    "{name} on {model}. /help lists the commands, Ctrl-D leaves.": "{name} sobre {model}. /help mostra os comandos, Ctrl-D sai.",
    "Adapters: {names}": "Adaptadores: {names}",
    "Now answering: {name}.": "Agora responde: {name}.",
    "the model without an adapter": "o modelo sem adaptador",
    "A new conversation.": "Nova conversa.",
    "Saved to {file}.": "Salvo em {file}.",
    "There is nothing to save yet.": "Ainda não há nada para salvar.",
    "/save wants a file's name, as in /save talk.jsonl": "/save precisa do nome de um arquivo, como em /save conversa.jsonl",
    "There is no command {name}; /help lists them.": "Não existe o comando {name}; /help mostra os que existem.",
    "There is no adapter {name}; there are: {names}": "Não existe o adaptador {name}; existem: {names}",
    "(stopped; the conversation is kept)": "(interrompido; a conversa foi mantida)",
    "(cut off at {count} tokens)": "(cortado em {count} tokens)",
    "(the context is full: {count} oldest messages are no longer read)": "(o contexto está cheio: as {count} mensagens mais antigas não são mais lidas)",
    "That is too long: {tokens} tokens, and the model takes {most}. Shorten it.": "Longo demais: {tokens} tokens, e o modelo aceita {most}. Encurte a mensagem.",
    "(no answer)": "(sem resposta)",
    "/adapter NAME   answer with another adapter, or with none; alone: list them": "/adapter NOME   responder com outro adaptador, ou none; sozinho: listar",
    "/reset          begin a new conversation": "/reset          começar uma nova conversa",
    "/save FILE      add the conversation to a .jsonl file": "/save ARQUIVO   acrescentar a conversa a um arquivo .jsonl",
    "/help           show this": "/help           mostrar isto",
    "/quit           leave (Ctrl-D too); Ctrl-C ends an answer": "/quit           sair (Ctrl-D também); Ctrl-C interrompe uma resposta",
}
HELP = tuple(phrase for phrase in PORTUGUESE if phrase.startswith("/") and "  " in phrase)
"""The commands, a line each."""
DEMO = {
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
RECOMMEND = {
    "none": "nenhum",
    "the data cannot decide": "os dados não decidem",
    "Runner-up": "Em segundo lugar",
    "left out": "fica de fora",
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
