"""Say in Portuguese what `afina serve` tells at its terminal; what is in its log of requests are keys, not sentences."""

__all__ = ["PORTUGUESE", "SERVED"]

PORTUGUESE = {
    "{count} adapter": "{count} adaptador",
    "{count} adapters": "{count} adaptadores",
    "{base} and {adapters} at {url} (a page to try them; programs ask at {url}/v1)": "{base} e {adapters} em {url} (uma página para experimentá-los; programas perguntam em {url}/v1)",
    "A thread that owns the model has died; the server ends, to be started again.": "Uma thread que tem o modelo morreu; o servidor termina, para ser iniciado de novo.",
    "Whoever reaches this address may ask: there is no key (--api-key, --keys).": "Quem alcança este endereço pode perguntar: não há chave (--api-key, --keys).",
}

SERVED = {
    "Request {number}: the documents cannot be searched: {error}": "Pedido {number}: não é possível buscar nos documentos: {error}",
    "{name} is loaded: {method}, {task}.": "{name} está carregado: {method}, {task}.",
    "{name} is no longer there.": "{name} não está mais lá.",
    "{folder} has the name of the base model and is not served; rename it.": "{folder} tem o nome do modelo de base e não é servido; mude o nome.",
    "{folder} has a name that cannot be written and is not served; rename it.": "{folder} tem um nome que não se pode escrever e não é servido; mude o nome.",
    "{both} are both called {name}, and neither is served; rename one.": "{both} se chamam ambos {name}, e nenhum é servido; mude o nome de um.",
    "{name} names no base model, and is taken for one of {base}.": "{name} não diz de que modelo de base é, e é tomado por um de {base}.",
    "{folder} cannot be loaded: {why}": "{folder} não pode ser carregado: {why}",
    "{folder} cannot be served: {why}": "{folder} não pode ser servido: {why}",
    "The key {name} may ask '{model}', which is not here yet.": "A chave {name} pode pedir '{model}', que ainda não está aqui.",
    "The keys in {file} can be read by everybody on this machine; chmod 600 it, or write each key's sha256.": "As chaves em {file} podem ser lidas por todos nesta máquina; dê chmod 600, ou escreva o sha256 de cada chave.",
    "An adapter of {model} will be refused: {base} is served (--same says that they are one).": "Um adaptador de {model} será recusado: serve-se {base} (--same diz que são o mesmo).",
    "The adapters' folder cannot be read ({why}).": "A pasta dos adaptadores não pode ser lida ({why}).",
    "Request {number} failed:\n{trace}": "O pedido {number} falhou:\n{trace}",
    "Request {number} was broken off: {why}": "O pedido {number} foi interrompido: {why}",
}
"""Sentences that are told as they happen, filled in already, as notes are."""
