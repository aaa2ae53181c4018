"""Say in Portuguese what `afina rag rows` says; the English sentence is the key."""

__all__ = ["PORTUGUESE", "READING_NOTES"]

PORTUGUESE = {
    "{count} left out: {why}": "{count} ficam de fora: {why}",
    "{count} with the passage that tells": "{count} com o trecho que diz",
    "{count} without it": "{count} sem ele",
    "{count} that the documents do not tell": "{count} que os documentos não dizem",
}

READING_NOTES = {
    "1 row's label is '{label}', taken for none": "o rótulo de 1 linha é '{label}', tido como nenhum",
    "1 row's label is '{label}', taken for none; if it is a class, write missing: [] in the data set's keys": "o rótulo de 1 linha é '{label}', tido como nenhum; se for uma classe, escreva missing: [] nas chaves do conjunto",
    "the labels of {count} rows are '{label}', taken for none": "os rótulos de {count} linhas são '{label}', tidos como nenhum",
    "the labels of {count} rows are '{label}', taken for none; if it is a class, write missing: [] in the data set's keys": "os rótulos de {count} linhas são '{label}', tidos como nenhum; se for uma classe, escreva missing: [] nas chaves do conjunto",
    "writing rows": "escrevendo as linhas",
    "rows without a question, left out": "linhas sem pergunta, que ficam de fora",
    "questions that stand there more than once, taken once": "perguntas que aparecem mais de uma vez, tomadas uma vez",
    "no model was named: passages are whole, however long, and marks of no template are broken in them": "nenhum modelo foi dado: os trechos ficam inteiros, por longos que sejam, e neles não se quebra marca de nenhum modelo de conversa",
    "passages that hold the answer's words too, not taken for wrong ones": "trechos que também contêm as palavras da resposta, não tomados como errados",
    "no passage of the index tells the answer": "nenhum trecho do índice diz a resposta",
    "nothing was found that could stand beside the question": "nada foi encontrado que pudesse ficar ao lado da pergunta",
    "the passage that tells does not fit the model": "o trecho que diz não cabe no modelo",
}
"""Rows of `words.notes`: what is noted of questions, and why one gives no row."""
