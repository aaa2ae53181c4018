"""Say in Portuguese what a conversation at the terminal says; the English sentence is the key."""

__all__ = ["HELP", "PORTUGUESE"]

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
