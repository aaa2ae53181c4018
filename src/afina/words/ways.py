"""Say in Portuguese what `afina rag compare` says; the English sentence is the key."""

__all__ = ["PORTUGUESE", "WAYS_NOTES"]

PORTUGUESE = {
    # -- the ways
    "base from memory": "base, de memória",
    "tuned, from memory": "ajustado, de memória",
    "base with retrieval": "base com recuperação",
    "tuned, with retrieval": "ajustado, com recuperação",
    "tuned for reading, with retrieval": "ajustado para ler, com recuperação",
    "base with the right passage": "base com o trecho certo",
    "tuned, with the right passage": "ajustado, com o trecho certo",
    "tuned for reading, with the right passage": "ajustado para ler, com o trecho certo",
    # -- what each step brings
    "retrieval beside answering from memory": "recuperação em vez de responder de memória",
    "tuning on the questions beside no tuning": "ajuste nas perguntas em vez de nenhum ajuste",
    "retrieval beside tuning on the questions": "recuperação em vez de ajuste nas perguntas",
    "tuning on the questions with retrieval, beside retrieval alone": "ajuste nas perguntas com recuperação, em vez de só recuperação",
    "tuning for reading with retrieval, beside retrieval alone": "ajuste para ler com recuperação, em vez de só recuperação",
    "tuning for reading with retrieval, beside tuning on the questions": "ajuste para ler com recuperação, em vez de ajuste nas perguntas",
    "tuning for reading beside tuning on the questions, both with retrieval": "ajuste para ler em vez de ajuste nas perguntas, ambos com recuperação",
    "the right passage beside those that are found": "o trecho certo em vez dos que são encontrados",
    "the right passage beside those that are found, to who was tuned for reading": "o trecho certo em vez dos que são encontrados, para quem foi ajustado para ler",
    "{what}: {gap} points ({low} to {high}), {outcome}.": "{what}: {gap} pontos ({low} a {high}), {outcome}.",
    "cannot be told from chance": "não se distingue do acaso",
    # -- the verdict
    "Nothing was asked that this metric is of.": "Nada foi perguntado a que esta métrica se aplique.",
    "{best} is the only way that can be gone ({value}).": "{best} é o único caminho possível ({value}).",
    "Worth it: {best} ({metric} {value}), ahead of every other way by more than chance.": "Vale a pena: {best} ({metric} {value}), à frente de todos os outros caminhos por mais do que o acaso.",
    "The data cannot decide by {metric} between {ways}: they differ by no more than chance could. The cheapest to prepare is {cheapest} ({seconds} s).": "Os dados não decidem por {metric} entre {ways}: não diferem mais do que o acaso explicaria. O mais barato de preparar é {cheapest} ({seconds} s).",
    "A passage that tells the answer was among those found for {share}% of the questions that have one.": "Um trecho que diz a resposta estava entre os encontrados em {share}% das perguntas que têm um.",
    "{questions} questions in {groups} groups were asked; those of a group are drawn together.": "{questions} perguntas em {groups} grupos foram feitas; as de um grupo são sorteadas juntas.",
    # -- tables
    "Retrieve, tune, or both": "Recuperar, ajustar ou os dois",
    "way": "caminho",
    "passage found": "trecho encontrado",
    "seconds a question": "segundos por pergunta",
    "of a processor": "de processador",
    "tokens read": "tokens lidos",
    "tokens written": "tokens escritos",
    "preparing (s)": "preparar (s)",
    "Ways of answering": "Caminhos para responder",
    "Shares in percent, with the 95% interval over groups of questions; — where nothing counts.": "Partes em porcento, com o intervalo de 95% sobre grupos de perguntas; — onde nada conta.",
    "By kind of question": "Por tipo de pergunta",
    "in words that were trained on": "em palavras do treino",
    "in new words": "em palavras novas",
    "of what was not trained on": "do que não foi treinado",
    "not in the documents": "fora dos documentos",
    "{metric}; of questions that the documents do not tell, refusals. %.": "{metric}; das perguntas que os documentos não respondem, as recusas. %.",
    "Cost of preparing": "Custo de preparar",
    "index (s)": "índice (s)",
    "rows to read (s)": "linhas de leitura (s)",
    "training (s)": "treino (s)",
    "What was known before": "O que já se sabia",
    "what training rows, questions and documents have in common": "o que linhas de treino, perguntas e documentos têm em comum",
    "count": "quantas",
    "questions that were asked": "perguntas feitas",
    "questions that were trained on": "perguntas treinadas",
    "of those asked, trained on in the same words": "das feitas, treinadas com as mesmas palavras",
    "of those asked, trained on in nearly the same words": "das feitas, treinadas com quase as mesmas palavras",
    "of those asked, with an answer that was trained on": "das feitas, com uma resposta treinada",
    "of those asked, standing in the documents": "das feitas, que aparecem nos documentos",
    "of those trained on, with an answer that stands in the documents word for word": "das treinadas, com uma resposta que aparece nos documentos palavra por palavra",
}

WAYS_NOTES = {
    "asking {model}: {way}": "perguntando a {model}: {way}",
    "the index was there before, and making it is not among the costs": "o índice já existia, e fazê-lo não está entre os custos",
    "questions of which no passage that tells is known, which get those that are found in its place": "perguntas de que não se conhece trecho que diga, que recebem em seu lugar os encontrados",
    "{part} rows for reading: {why}": "linhas de leitura de {part}: {why}",
}
"""Rows of `words.notes`: what a comparison is at, and what was assumed."""
