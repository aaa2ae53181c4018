"""Say in Portuguese what an export says of itself; the English sentence is the key, `{places}` hold what is filled in."""

__all__ = ["EXPORT_NOTES"]

EXPORT_NOTES = {
    "measuring what it takes": "medindo o que ele toma",
    "Its thresholds by group stand in no file that other programs load: there it answers what is likelier than not.": "Seus limiares por grupo não estão em nenhum arquivo que outros programas carregam: ali ele responde o que é mais provável que não.",
    "What it takes was not measured: {why}.": "O que ele toma não foi medido: {why}.",
    # -- exports to GGUF
    "lost by rounding to {kind}, of what the adapter changed": "perdido ao arredondar para {kind}, do que o adaptador mudou",
    "{value} (they reach {scale})": "{value} (eles chegam a {scale})",
    "{lost} of {moved} nats a token": "{lost} de {moved} nats por token",
    "what the adapter changes of its base": "o que o adaptador muda em sua base",
    "{moved} nats a token": "{moved} nats por token",
    "llama.cpp against transformers on the file": "llama.cpp contra transformers no arquivo",
    "{mean} nats a token, at most {worst}": "{mean} nats por token, no máximo {worst}",
    "read alike in llama.cpp": "lidos igual em llama.cpp",
    "{count} texts": "{count} textos",
    "chat template in llama.cpp": "modelo de conversa em llama.cpp",
    "equal to the byte in {count} conversations": "igual byte a byte em {count} conversas",
    "In this graph, by the numbers of the input adapter, are {names}, in this order from 0; what a card says of data and results is of {name}.": "Neste grafo estão, pelos números da entrada adapter, {names}, nesta ordem a partir de 0; o que um cartão diz de dados e resultados é de {name}.",
    "largest difference of logits of what may follow": "maior diferença dos logits do que pode vir a seguir",
    "conversations written alike, to the byte": "conversas escritas igual, byte a byte",
    "written alike, taking the likeliest token": "escrito igual, tomando o token mais provável",
    "{some} of {of} tokens": "{some} de {of} tokens",
    "size of {name}": "tamanho de {name}",
    "Rounding to {kind} loses {lost} nats a token and the adapter changed less ({moved}): take a type with more bits.": "Arredondar para {kind} perde {lost} nats por token e o adaptador mudou menos ({moved}): escolha um tipo com mais bits.",
    "xllamacpp is not installed, so that llama.cpp itself was not asked: pip install xllamacpp.": "xllamacpp não está instalado, e por isso llama.cpp mesmo não foi consultado: pip install xllamacpp.",
    "The tokenizer composes characters (NFC) before it reads them, which llama.cpp does not: give it composed texts, as keyboards write them.": "O tokenizador compõe os caracteres (NFC) antes de lê-los, o que llama.cpp não faz: dê-lhe textos compostos, como os teclados os escrevem.",
    "llama.cpp begins conversations with {mark}, which the chat template does not write; elsewhere they begin without it.": "llama.cpp começa as conversas com {mark}, que o modelo de conversa não escreve; em outros lugares elas começam sem isso.",
    "Modelfile: the chat template does more than write turns, so that it is not there; Ollama goes by what it knows of the model.": "Modelfile: o modelo de conversa faz mais do que escrever os turnos, e por isso não está ali; Ollama segue o que sabe do modelo.",
    "Put it onto {model} as GGUF: llama-server -m base.gguf --lora adapter.gguf.": "Ponha-o sobre {model} em GGUF: llama-server -m base.gguf --lora adapter.gguf.",
    "llama.cpp reads all of a text, and the model a window of {window} tokens: longer texts differ.": "llama.cpp lê o texto todo, e o modelo uma janela de {window} tokens: textos mais longos diferem.",
    "It was tried on a base of type {kind}, which was not kept.": "Foi testado sobre uma base do tipo {kind}, que não foi guardada.",
    "The base was quantised to {kind}; the adapter was merged into {onto}, and that rounded to {type}. From the adapter as it was tested its logits differ by up to {difference}.": "A base estava quantizada em {kind}; o adaptador foi incorporado a {onto}, arredondado para {type}. Em relação ao adaptador como foi testado, os logits diferem em até {difference}.",
}
