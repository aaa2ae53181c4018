"""Notes of what was assumed of data and models, in Portuguese: the English one is the key, `{places}` hold what is filled in.

A study keeps its notes as English sentences. `said_note` finds the key that a sentence was made from and what was filled in,
and says both again; tests/words/test_notes.py finds a note that has no row here.
"""

import re
from collections.abc import Iterator
from functools import cache

from afina.registry import listing
from afina.words.explaining import EXPLAINING_NOTES
from afina.words.exports import EXPORT_NOTES
from afina.words.plan import PLAN_NOTES
from afina.words.quantisation import QUANTISED
from afina.words.rag import RAG_NOTES
from afina.words.reading import READING_NOTES
from afina.words.running import RUNNING_NOTES
from afina.words.serving import SERVED
from afina.words.smaller import SMALLER_NOTES
from afina.words.watch import WATCH_NOTES
from afina.words.ways import WAYS_NOTES

__all__ = ["NOTES", "said_note", "without_examples"]

NOTES = {
    # -- files of text
    "read as {name}, since it is not UTF-8 (line {line}: {example})": "lido como {name}, pois não é UTF-8 (linha {line}: {example})",
    "read as UTF-16, which its bytes show though no mark says so": "lido como UTF-16, que seus bytes mostram embora nenhuma marca o diga",
    "its first line, 'sep={mark}', names the separator": "sua primeira linha, 'sep={mark}', diz qual é o separador",
    "columns are separated by {kind}": "as colunas estão separadas por {kind}",
    "line {line} is the columns' names once more, and no row: left out": "a linha {line} repete os nomes das colunas e não é uma linha de dados: fica de fora",
    "{count} lines (the first: {line}) are the columns' names once more, and no row: left out": "{count} linhas (a primeira: {line}) repetem os nomes das colunas e não são linhas de dados: ficam de fora",
    "line {line} is the columns' names once more, and no row: without an answer": "a linha {line} repete os nomes das colunas e não é uma linha de dados: fica sem resposta",
    "{count} lines (the first: {line}) are the columns' names once more, and no row: without an answer": "{count} linhas (a primeira: {line}) repetem os nomes das colunas e não são linhas de dados: ficam sem resposta",
    "a column at the end has no name, and empty: left out": "uma coluna no fim não tem nome e está vazia: fica de fora",
    "{count} columns at the end have no name, and empty: left out": "{count} colunas no fim não têm nome e estão vazias: ficam de fora",
    "a column at the end has no name; {rows} rows hold something there, the first on line {line}: left out": "uma coluna no fim não tem nome; {rows} linhas têm algo ali, a primeira na linha {line} do arquivo: fica de fora",
    "{count} columns at the end have no name; {rows} rows hold something there, the first on line {line}: left out": "{count} colunas no fim não têm nome; {rows} linhas têm algo ali, a primeira na linha {line} do arquivo: ficam de fora",
    'quotation marks within fields are escaped with a backslash (\\"), and were read so': 'as aspas dentro dos campos estão escapadas com barra invertida (\\"), e foram lidas assim',
    "fields in quotation marks hold tabs or line ends, and were read as quoted": "os campos entre aspas contêm tabulações ou quebras de linha, e foram lidos como citados",
    "fields stand in quotation marks, which were taken off": "os campos estão entre aspas, que foram retiradas",
    "a field begins with a quotation mark (line {line}), which is read as a letter like any other": "um campo começa com aspas (linha {line}), lidas como um sinal qualquer",
    "{count} fields begin with a quotation mark (line {line}), which is read as a letter like any other": "{count} campos começam com aspas (linha {line}), lidas como um sinal qualquer",
    "read its first sheet, '{sheet}', of {count} ({list})": "lida a primeira planilha, '{sheet}', de {count} ({list})",
    "a list of texts, read as a column called text": "uma lista de textos, lida como uma coluna chamada text",
    'read as pandas writes it with orient="{orient}"': 'lido como o pandas escreve com orient="{orient}"',
    "the rows are those under '{name}'": "as linhas são as que estão em '{name}'",
    "read as columns, each a list": "lido como colunas, cada uma uma lista",
    "the lines are read as {form}": "as linhas são lidas como {form}",
    "{count} lines are a text each": "{count} linhas são um texto cada",
    "{count} paragraphs between blank lines are a text each": "{count} parágrafos entre linhas em branco são um texto cada",
    # -- parts
    "{where} has no test part: {train} rows to train on, {test} to test on (80/20, always the same)": "{where} não tem parte de teste: {train} linhas para treinar, {test} para testar (80/20, sempre as mesmas)",
    "labels are numbers and none of the adapter's names: they are read as places, 0 being '{first}'": "os rótulos são números e nenhum dos nomes do adaptador: são lidos como posições, 0 é '{first}'",
    "{where} has no test part: tested on its validation part": "{where} não tem parte de teste: testado na parte de validação",
    "{count} text stands in both train and test": "{count} texto está tanto no treino quanto no teste",
    "{count} texts stand in both train and test": "{count} textos estão tanto no treino quanto no teste",
    "{count} image stands in both train and test": "{count} imagem está tanto no treino quanto no teste",
    "{count} images stand in both train and test": "{count} imagens estão tanto no treino quanto no teste",
    "{count} of {rows} train rows are held out as development split": "{count} de {rows} linhas de treino ficam separadas como parte de desenvolvimento",
    "the development split has {rows}: what is chosen on so few is chosen by chance": "a parte de desenvolvimento tem {rows}: o que se escolhe com tão poucos é escolhido ao acaso",
    "'{name}' is the data set known by that name; to read what is called so here, write ./{path}": "'{name}' é o conjunto conhecido por esse nome; para ler o que aqui se chama assim, escreva ./{path}",
    "the hub names the labels {list}, where the preset '{name}' has {own}: the hub's are taken": "o hub chama os rótulos de {list}, e a predefinição '{name}' tem {own}: valem os do hub",
    # -- bases
    "{folder} does not say by which weights its base is known, so that it was not recognised.": "{folder} não diz por quais pesos se conhece sua base, que por isso não foi reconhecida.",
    "{base} has no weight by which {folder} knows its base, so that it was not recognised.": "{base} não tem nenhum peso pelo qual {folder} conhece sua base, que por isso não foi reconhecida.",
    "{folder} was trained on other weights than those of {base}, as was wanted.": "{folder} foi treinado com outros pesos que os de {base}, como se quis.",
    # -- prompts
    "{name} in a prompt was read as text: with --special it is the control token.": "{name} num prompt foi lido como texto: com --special é o token de controle.",
    # -- audits
    "{count} rows of {file} have no text or none of the adapter's labels and are left out.": "{count} linhas de {file} não têm texto ou nenhum dos rótulos do adaptador e ficam de fora.",
    "the label '{label}' is none of the adapter's, which has '{name}': write it so.": "o rótulo '{label}' não é do adaptador, que tem '{name}': escreva-o assim.",
    "{count} held-out row is among the train rows too and left out.": "{count} linha reservada está também entre as de treino e fica de fora.",
    "{count} held-out rows are among the train rows too and left out.": "{count} linhas reservadas estão também entre as de treino e ficam de fora.",
    "{count} row is without a token to learn within {limit} and left out.": "{count} linha não tem token a aprender dentro de {limit} e fica de fora.",
    "{count} rows are without a token to learn within {limit} and left out.": "{count} linhas não têm token a aprender dentro de {limit} e ficam de fora.",
    "The rows are too short to be continued; recitation was not looked at.": "As linhas são curtas demais para serem continuadas; a recitação não foi verificada.",
    # -- rows left out
    "{count} {split} row with {what} left out": "{count} linha de {split} com {what} fica de fora",
    "{count} {split} rows with {what} left out": "{count} linhas de {split} com {what} ficam de fora",
    "{count} row with {what} left out": "{count} linha com {what} fica de fora",
    "{count} rows with {what} left out": "{count} linhas com {what} ficam de fora",
    "{count} {split} row with an empty text, or with nothing that is said, left out": "{count} linha de {split} com texto vazio, ou sem nada dito, fica de fora",
    "{count} {split} rows with an empty text, or with nothing that is said, left out": "{count} linhas de {split} com texto vazio, ou sem nada dito, ficam de fora",
    "{count} {split} row without a word left out": "{count} linha de {split} sem palavra fica de fora",
    "{count} {split} rows without a word left out": "{count} linhas de {split} sem palavra ficam de fora",
    "1 text of {split} say '{value}', as a missing value is written, and are read as texts": "1 texto de {split} diz '{value}', como se escreve um valor ausente, e é lido como texto",
    "{count} texts of {split} say '{value}', as a missing value is written, and are read as texts": "{count} textos de {split} dizem '{value}', como se escreve um valor ausente, e são lidos como textos",
    # -- columns
    "the texts are {list}, joined; to read one alone, say so with text:": "os textos são {list}, unidos; para ler só um, diga com text:",
    "the texts are '{column}' alone; to read '{other}' too, write text: [{first}, {second}]": "os textos são apenas '{column}'; para ler também '{other}', escreva text: [{first}, {second}]",
    "the labels are '{column}'; '{other}' looks like labels too, and is not read": "os rótulos são '{column}'; '{other}' também parece rótulo, e não é lida",
    "there is no column '{column}', from which the adapter learned; its texts are found by their usual names": "não há a coluna '{column}', da qual o adaptador aprendeu; os textos são achados pelos nomes usuais",
    "translated from '{source}' to '{target}'; text: and target: say another direction": "traduzido de '{source}' para '{target}'; text: e target: dizem outra direção",
    "read as 'question: ... context: ...', and the first of its answers written": "lido como 'question: ... context: ...', e escrita a primeira das respostas",
    "read as 'question: ... context: ...', and the first of its answers written ({count} rows have others)": "lido como 'question: ... context: ...', e escrita a primeira das respostas ({count} linhas têm outras)",
    # -- labels
    "{count} label has spaces or invisible characters that were taken off, so that {before} is {after}": "{count} rótulo tem espaços ou sinais invisíveis, que foram retirados: {before} é {after}",
    "{count} labels have spaces or invisible characters that were taken off, so that {before} is {after}": "{count} rótulos têm espaços ou sinais invisíveis, que foram retirados: {before} é {after}",
    "the label '{label}' is taken for a class; if it means none, write missing: ['{same}']": "o rótulo '{label}' é tido como uma classe; se quer dizer nenhum, escreva missing: ['{same}']",
    "the labels {list} differ in capitals only and are classes of their own; are they meant to be one?": "os rótulos {list} só diferem em maiúsculas e são classes à parte; deviam ser uma só?",
    "labels such as '{label}' are numbers with decimal commas": "rótulos como '{label}' são números com vírgula decimal",
    "the commas of labels such as '{label}' divide thousands": "as vírgulas de rótulos como '{label}' separam milhares",
    "-1 is taken for a label like the others; leave its rows out if it means that there is none": "-1 é tido como um rótulo qualquer; retire as suas linhas se quiser dizer que não há nenhum",
    "{count} classes in {rows} train rows: too few rows a class to learn from": "{count} classes em {rows} linhas de treino: poucas linhas por classe para aprender",
    "no test row is labelled {list} (1 train row): how well it is told is not measured": "nenhuma linha de teste tem o rótulo {list} (1 linha de treino): não se mede quão bem é reconhecido",
    "no test row is labelled {list} ({count} train rows): how well it is told is not measured": "nenhuma linha de teste tem o rótulo {list} ({count} linhas de treino): não se mede quão bem é reconhecido",
    "the labels in column '{column}' look like dates ('{label}'), and each is a class; is another column meant?": "os rótulos da coluna '{column}' parecem datas ('{label}'), e cada uma é uma classe; era outra coluna?",
    # -- words and tags
    "words and tags are the second and fourth of 10 columns (CoNLL-U): {count} sentences": "palavras e etiquetas são a segunda e a quarta de 10 colunas (CoNLL-U): {count} frases",
    "words and tags are the first and last of {columns} columns: {count} sentences": "palavras e etiquetas são a primeira e a última de {columns} colunas: {count} frases",
    "{rows} rows of one word each are {count} sentences by column '{column}'": "{rows} linhas de uma palavra cada são {count} frases pela coluna '{column}'",
    "spans in column '{column}' are tags of words now, with punctuation apart from them": "os trechos da coluna '{column}' agora são etiquetas de palavras, com a pontuação separada",
    "the lists in columns '{first}' and '{second}' are written as text": "as listas das colunas '{first}' e '{second}' estão escritas como texto",
    "words and tags in columns '{first}' and '{second}' have spaces between them": "palavras e etiquetas das colunas '{first}' e '{second}' estão separadas por espaços",
    "tags such as B_X are read as B-X": "etiquetas como B_X são lidas como B-X",
    "tags are BILOU's, read as BIOES: U- is S-, L- is E-": "as etiquetas são BILOU, lidas como BIOES: U- é S-, L- é E-",
    "{split} has tags that no train row has, which cannot be learned: {list}": "{split} tem etiquetas que nenhuma linha de treino tem, e que não podem ser aprendidas: {list}",
    # -- conversations; each is followed by how many there were
    "conversations with edits or other answers, of which the last branch is read": "conversas com edições ou outras respostas, das quais se lê o último ramo",
    "messages to and from ChatGPT's own tools, left out": "mensagens de e para as ferramentas do próprio ChatGPT, que ficam de fora",
    "lists of messages that are Python text, not JSON": "listas de mensagens que são texto de Python, não JSON",
    "questions with what stands in '{column}' under them": "perguntas com o que está em '{column}' abaixo delas",
    "texts of '{column}' alone, and not '{other}', which task: chat or seq2seq would learn": "textos apenas de '{column}', e não de '{other}', que task: chat ou seq2seq aprenderia",
    "preferences, of which what was chosen is read and what was rejected is not": "preferências, das quais se lê o que foi escolhido e não o que foi rejeitado",
    "calls of tools that are no JSON, kept as what is said": "chamadas de ferramentas que não são JSON, mantidas como fala",
    "messages of the user marked to be learned: answers alone are": "mensagens do usuário marcadas para aprender: só as respostas são aprendidas",
    "messages with the key '{key}', which is not used": "mensagens com a chave '{key}', que não é usada",
    "calls with arguments that are null, left out": "chamadas com argumentos nulos, que ficam de fora",
    "replies that are not the best-ranked to their message (or the first), which are not read": "respostas que não são as mais bem avaliadas da sua mensagem (ou a primeira), que não são lidas",
    "first messages that are the assistant's, before any question, left out": "primeiras mensagens que são do assistente, antes de qualquer pergunta, que ficam de fora",
    "conversations of which no answer is to be learned (weight 0), left out": "conversas de que nenhuma resposta é para aprender (peso 0), que ficam de fora",
    "answers that are read and not learned (weight 0)": "respostas que são lidas e não aprendidas (peso 0)",
    "lines of WhatsApp's own, left out": "linhas do próprio WhatsApp, que ficam de fora",
    "pictures, sound and deleted messages, left out": "fotos, áudios e mensagens apagadas, que ficam de fora",
    "lines that are not UTF-8, read as Windows-1252": "linhas que não são UTF-8, lidas como Windows-1252",
    "lines that are the columns' names once more: left out": "linhas que repetem os nomes das colunas: ficam de fora",
    "labels with spaces or invisible characters, counted (and learned) without": "rótulos com espaços ou sinais invisíveis, contados (e aprendidos) sem eles",
    "texts of {list} together, a label among them maybe (--text and --label say which is which)": "textos de {list} juntos, talvez com um rótulo entre eles (--text e --label dizem qual é qual)",
    # -- tokens
    "{key} is for task: {list}; task: {task} does not read it": "{key} é para task: {list}; task: {task} não o lê",
    "{count} of {rows} {split} texts were longer than {limit} tokens and were cut": "{count} de {rows} textos de {split} tinham mais de {limit} tokens e foram cortados",
    "{count} of {rows} {split} texts, one for each answer, were longer than {limit} tokens and were cut": "{count} de {rows} textos de {split}, um por resposta, tinham mais de {limit} tokens e foram cortados",
    "{count} of {rows} {split} texts were longer than {limit} tokens and were cut, with them {words} of {all} words, taken for no entity's": "{count} de {rows} textos de {split} tinham mais de {limit} tokens e foram cortados, e com eles {words} de {all} palavras, tidas como de nenhuma entidade",
    "{count} of {rows} {split} texts, one for each answer, were longer than {limit} tokens and were cut, with them {words} of {all} words, taken for no entity's": "{count} de {rows} textos de {split}, um por resposta, tinham mais de {limit} tokens e foram cortados, e com eles {words} de {all} palavras, tidas como de nenhuma entidade",
    "{rows} {split} texts are {count} sequences of at most {limit} tokens": "{rows} textos de {split} são {count} sequências de no máximo {limit} tokens",
    "{count} of {rows} {split} rows have no token to train on within {limit} and are left out": "{count} de {rows} linhas de {split} não têm token para treinar dentro de {limit} e ficam de fora",
    "{trained} of {tokens} tokens are trained ({share}%), in {rows} rows": "{trained} de {tokens} tokens são treinados ({share}%), em {rows} linhas",
    "the tokenizer has no end token, so that the model will not learn to stop": "o tokenizador não tem token de fim, e o modelo não aprenderá a parar",
    "the end {end} is trained in {count} of {rows} rows looked at": "o fim {end} é treinado em {count} de {rows} linhas vistas",
    "{count} of {rows} answers lose their end; raise max_length to keep it": "{count} de {rows} respostas perdem o fim; aumente max_length para mantê-lo",
    "what had been kept of its tokens ({file}) was damaged and is made again": "o que se guardou dos seus tokens ({file}) estava danificado e é refeito",
    "the model's tokenizer names no end token: no end is learned, and what it writes goes on to max_new_tokens": "o tokenizador do modelo não tem token de fim: nenhum fim é aprendido, e o que ele escreve vai até max_new_tokens",
    "the tokenizer has {tokens} tokens, the model vectors for {vectors}: texts with {list} cannot be read": "o tokenizador tem {tokens} tokens, e o modelo vetores para {vectors}: textos com {list} não podem ser lidos",
    # -- models
    "the model's folder makes one vector of a text by {mode} (1_Pooling); the classifier here has the head of its architecture instead, as transformers has": "a pasta do modelo faz de um texto um vetor por {mode} (1_Pooling); o classificador aqui tem a cabeça da sua arquitetura, como no transformers",
    "the names of the model's weights are read without their '{prefix}'": "os nomes dos pesos do modelo são lidos sem o '{prefix}'",
    "the model's files hold no pooler, which its classifier looks through: one is drawn from each run's seed, trained with the head and saved with it": "os arquivos do modelo não têm pooler, pelo qual o classificador olha: um é sorteado pela semente de cada execução, treinado com a cabeça e salvo com ela",
    "'{kind}' has no row in Afina's table: it was recognised by its shape, and its states are checked against transformers' own attention whenever it is loaded": "'{kind}' não tem linha na tabela do Afina: foi reconhecido pela forma, e seus estados são conferidos com a atenção do próprio transformers sempre que é carregado",
    "'{kind}' models have no layers of their own for {list}: no method adapts them, `targets: all` leaves them out, and a precision that quantises does not reach them": "modelos '{kind}' não têm camadas próprias para {list}: nenhum método as adapta, `targets: all` as deixa de fora, e uma precisão que quantiza não as alcança",
    "a prefix under a sliding window of {window} tokens: here every token of a text sees it, in PEFT those beyond the window do not, so that texts longer than that are answered otherwise there": "um prefixo sob uma janela deslizante de {window} tokens: aqui todo token de um texto o vê, no PEFT os que estão além da janela não, e textos mais longos recebem lá outra resposta",
    "the model is a classifier of these labels: its head begins with its own rows for them, by their names": "o modelo é um classificador destes rótulos: a cabeça começa com as linhas dele para eles, pelos nomes",
    "the model is a classifier of these labels: its head begins with its own rows for them, by their names (of its {list})": "o modelo é um classificador destes rótulos: a cabeça começa com as linhas dele para eles, pelos nomes (dos seus {list})",
    "the model's own classification head answers each label with yes or no, and here every text has one: its last layer is drawn anew": "a cabeça de classificação do próprio modelo responde sim ou não a cada rótulo, e aqui cada texto tem um: sua última camada é sorteada de novo",
    "the model's own classification head chooses one label of several, and here a text may have more: its last layer is drawn anew": "a cabeça de classificação do próprio modelo escolhe um rótulo entre vários, e aqui um texto pode ter mais: sua última camada é sorteada de novo",
    "the model's own classification head gives several numbers, and here every text has one answer: its last layer is drawn anew": "a cabeça de classificação do próprio modelo dá vários números, e aqui cada texto tem uma resposta: sua última camada é sorteada de novo",
    "the model's own classification head was trained in a unit that is not known: its last layer is drawn anew": "a cabeça de classificação do próprio modelo foi treinada numa unidade que não se conhece: sua última camada é sorteada de novo",
    "the model's own classification head does not name its labels: its last layer is drawn anew": "a cabeça de classificação do próprio modelo não dá nome aos seus rótulos: sua última camada é sorteada de novo",
    "the model's own classification head tells other labels apart ({list}): its last layer is drawn anew": "a cabeça de classificação do próprio modelo distingue outros rótulos ({list}): sua última camada é sorteada de novo",
    "the weights of {file} were quantised (tensors: {list}); what they stand for is kept as bfloat16 in {folder}": "os pesos de {file} estavam quantizados (tensores: {list}); o que representam é guardado como bfloat16 em {folder}",
    # -- settings
    "{method}: alpha stays {alpha} at rank {rank}, so that the scale is {scale} ({usual} at its default rank); alpha: {written} would keep the scale.": "{method}: alpha fica em {alpha} com rank {rank}, e a escala é {scale} ({usual} no rank padrão); alpha: {written} manteria a escala.",
    "{method}: rank is {rank}, and its matrices are random, so that it reaches little at a rank that suits trained ones; {setting} trains one number a layer more for each.": "{method}: o rank é {rank}, e as matrizes são sorteadas, de modo que pouco alcança com um rank que serve às treinadas; {setting} treina um número a mais por camada para cada um.",
    "{list}: {setting}, which is the default where a model learns to write; what you set goes before it.": "{list}: {setting}, que é o padrão quando um modelo aprende a escrever; o que você definir vale antes.",
    # -- what was exported, evaluated, predicted
    "The merged model has the codes and scales of its base ({kind}), and what the adapter learned is in the codes' zeros. They are no whole numbers now, which GPTQ's and AWQ's files cannot hold, so that it is written in HQQ's; give the folder as model: to Afina.": "O modelo fundido tem os códigos e as escalas da sua base ({kind}), e o que o adaptador aprendeu está nos zeros dos códigos. Eles já não são números inteiros, o que os arquivos do GPTQ e do AWQ não podem conter, e por isso ele é escrito nos do HQQ; dê a pasta como model: à Afina.",
    "The base was quantised, and the merged model is not: it holds {what}, in float32, {after} MB where there were {before}. From the adapter on {kind} its logits differ by up to {difference}. Quantised to {again} again, it would round what was merged, too.": "A base estava quantizada, e o modelo fundido não está: contém {what}, em float32, {after} MB onde havia {before}. Do adaptador em {kind} os seus logits diferem em até {difference}. Quantizado de novo para {again}, também arredondaria o que foi fundido.",
    "The base was quantised, and the merged model is not: it holds {what}, in float32, {after} MB where there were {before}. From the adapter on {kind} its logits differ by up to {difference}, and {some} of {of} rows keep their label. Quantised to {again} again, it would round what was merged, too.": "A base estava quantizada, e o modelo fundido não está: contém {what}, em float32, {after} MB onde havia {before}. Do adaptador em {kind} os seus logits diferem em até {difference}, e {some} de {of} linhas mantêm o rótulo. Quantizado de novo para {again}, também arredondaria o que foi fundido.",
    "The base was quantised, and the merged model is not: it holds {what}, in float32, {after} MB where there were {before}. From the adapter on {kind} its logits differ by up to {difference}, and {some} of {of} words keep their label. Quantised to {again} again, it would round what was merged, too.": "A base estava quantizada, e o modelo fundido não está: contém {what}, em float32, {after} MB onde havia {before}. Do adaptador em {kind} os seus logits diferem em até {difference}, e {some} de {of} palavras mantêm o rótulo. Quantizado de novo para {again}, também arredondaria o que foi fundido.",
    "the original weights, not those that {kind} had made of them, which the adapter was trained beside": "os pesos originais, não os que {kind} fez deles, junto aos quais o adaptador foi treinado",
    "the weights that {kind} stands for, which the adapter was trained beside (they differ from the original ones by {share}% of their norm)": "os pesos que {kind} representa, junto aos quais o adaptador foi treinado (diferem dos originais em {share}% da sua norma)",
    "{count} layers are rounded to eight bits; in float stay {list}. {before} MB became {after}; a row takes {one} ms, before {one_before}; 32 rows {many} ms, before {many_before}; the process {memory} MB, before {memory_before}. On {rows} rows {metric} is {value}, before {value_before}: worse by {loss} (95%: {low} to {high}).": "{count} camadas estão arredondadas a oito bits; em float ficam {list}. {before} MB passaram a {after}; uma linha leva {one} ms, antes {one_before}; 32 linhas {many} ms, antes {many_before}; o processo {memory} MB, antes {memory_before}. Em {rows} linhas {metric} é {value}, antes {value_before}: pior em {loss} (95%: de {low} a {high}).",
    "{count} layers are rounded to eight bits; in float stay {list}. {before} MB became {after}; a token more takes {one} ms, before {one_before}; one more of 32 texts {many} ms, before {many_before}; the process {memory} MB, before {memory_before}. On {rows} rows {metric} is {value}, before {value_before}: worse by {loss} (95%: {low} to {high}).": "{count} camadas estão arredondadas a oito bits; em float ficam {list}. {before} MB passaram a {after}; mais um token leva {one} ms, antes {one_before}; mais um de 32 textos {many} ms, antes {many_before}; o processo {memory} MB, antes {memory_before}. Em {rows} linhas {metric} é {value}, antes {value_before}: pior em {loss} (95%: de {low} a {high}).",
    "{count} layers are rounded to eight bits, by what {some} train rows (drawn with seed {seed}) show; in float stay {list}. {before} MB became {after}; a row takes {one} ms, before {one_before}; 32 rows {many} ms, before {many_before}; the process {memory} MB, before {memory_before}. On {rows} rows {metric} is {value}, before {value_before}: worse by {loss} (95%: {low} to {high}).": "{count} camadas estão arredondadas a oito bits, pelo que {some} linhas de treino (sorteadas com a semente {seed}) mostram; em float ficam {list}. {before} MB passaram a {after}; uma linha leva {one} ms, antes {one_before}; 32 linhas {many} ms, antes {many_before}; o processo {memory} MB, antes {memory_before}. Em {rows} linhas {metric} é {value}, antes {value_before}: pior em {loss} (95%: de {low} a {high}).",
    "The base reads with its own tokenizer, as it has no vectors for all of the adapter's tokens: a perplexity is by token, so the two do not compare; bits per byte do.": "A base lê com o seu próprio tokenizador, pois não tem vetores para todos os tokens do adaptador: a perplexidade é por token, e as duas não se comparam; os bits por byte, sim.",
    "The rows have a column '{name}' of their own; the predicted one is called '{other}'.": "As linhas têm uma coluna '{name}' própria; a prevista se chama '{other}'.",
    # -- what a task notes of its rows, which it says itself (`Task.notes`)
    **{note: own for entry in listing("afina.tasks", "task").values() for note, own in entry.constants.get("notes", ())},
    # -- afina data: forms, rules, reasons, what was assumed
    "of the first {count} rows with one who asks or answers in '{column}', too few for turns of dialogues": "das primeiras {count} linhas com quem pergunta ou responde em '{column}', poucas para serem falas de diálogos",
    "lines that belong to no message, left out": "linhas que não são de mensagem alguma, de fora",
    "of the first {count} rows no dialogues; most are, and the file is read so (--plain reads texts)": "das primeiras {count} linhas que não são diálogos; a maioria é, e o arquivo é lido assim (--plain lê textos)",
    "texts with a speaker's mark at the start of a line, read as texts (--dialogues reads turns)": "textos com a marca de quem fala no começo de uma linha, lidos como textos (--dialogues lê falas)",
    "names that may be speakers', {list} (--user and --assistant make dialogues of them)": "nomes que podem ser de quem fala, {list} (--user e --assistant fazem diálogos deles)",
    "different values of '{column}' in the first {count} rows, taken for labels (--question {first} --answer {second} reads them as answers)": "valores diferentes de '{column}' nas primeiras {count} linhas, tomados por rótulos (--question {first} --answer {second} os lê como respostas)",
    "different values of '{column}' in the first {count} rows, taken for answers to '{question}' (--text {first} --label {second} reads them as labels)": "valores diferentes de '{column}' nas primeiras {count} linhas, tomados por respostas a '{question}' (--text {first} --label {second} os lê como rótulos)",
    "rows with columns beside those that are read, which stand in 'extra' afterwards: {list}": "linhas com colunas além das que são lidas, que depois ficam em 'extra': {list}",
    "question and answer": "pergunta e resposta",
    "one turn a row": "uma fala por linha",
    "turns out of order": "falas fora de ordem",
    "preferences": "preferências",
    "prompt and completion": "pedido e continuação",
    "transcript": "transcrição",
    "tagged words": "palavras etiquetadas",
    "OpenAI messages": "mensagens como as da OpenAI",
    "text": "texto",
    "no line says who speaks": "nenhuma linha diz quem fala",
    "no known form of dialogue (its columns: {list})": "nenhuma forma conhecida de diálogo (suas colunas: {list})",
    "no messages": "nenhuma mensagem",
    "not a JSON object": "não é um objeto JSON",
    "empty line": "linha vazia",
    "its size depends on the data": "seu tamanho depende dos dados",
    "says the same as an earlier row": "diz o mesmo que uma linha anterior",
    "nearly the same as an earlier row": "quase o mesmo que uma linha anterior",
    "dialogues run together: {what}": "diálogos juntos: {what}",
    "turns joined, loose ends cut off": "junta falas, corta pontas soltas",
    "nobody asks": "ninguém pergunta",
    "nobody answers": "ninguém responde",
    "one question a row": "uma pergunta por linha",
    "e-mail, phone, CPF, CNPJ: {what}": "e-mail, telefone, CPF, CNPJ: {what}",
    "no dialogue that can be read": "nenhum diálogo que se possa ler",
    "encoding, controls, spaces mended": "conserta codificação, controles, espaços",
    "too short or too long": "curto ou longo demais",
    "repeats itself": "repete-se",
    "the answer stands before the question": "a resposta está antes da pergunta",
    "an answer without a question": "uma resposta sem pergunta",
    "a question without an answer": "uma pergunta sem resposta",
    "no dialogue in the answer": "nenhum diálogo na resposta",
    "an empty answer": "uma resposta vazia",
    "cut off at the most tokens that the model may write": "cortado no máximo de tokens que o modelo pode escrever",
    "the answer says the question again": "a resposta repete a pergunta",
    "no question": "sem pergunta",
    "no answer": "sem resposta",
    "{count} words, where {most} are the most": "{count} palavras, e {most} são o máximo",
    "{count} tokens, where {most} are the most": "{count} tokens, e {most} são o máximo",
    "an answer of {count} words, where {fewest} are the fewest": "uma resposta de {count} palavras, e {fewest} são o mínimo",
    "{share} of an answer's word triples stood in it before": "{share} dos trios de palavras de uma resposta já estavam nela",
    "ended early: the last {count} requests brought nothing new": "terminou antes: os últimos {count} pedidos não trouxeram nada de novo",
    "only {share} of the word pairs differ (varied text: above 60%)": "só {share} dos pares de palavras são diferentes (texto variado: acima de 60%)",
    "texts are made of one another's phrases: self-BLEU {value} (varied text: below 0.4)": "os textos são feitos das frases uns dos outros: self-BLEU {value} (texto variado: abaixo de 0,4)",
    "texts mean nearly the same: embedding spread {value} (varied text: above 0.6)": "os textos dizem quase o mesmo: dispersão dos vetores {value} (texto variado: acima de 0,6)",
    "it falls: {before} of the word pairs differed at first, {now} now": "cai: {before} dos pares de palavras eram diferentes no começo, {now} agora",
    # -- what is being done
    "loading": "carregando", "opening it": "abrindo", "loading the model": "carregando o modelo",
    "loading the adapter": "carregando o adaptador", "reading what to measure on": "lendo aquilo em que se mede",
    "reading rows to check with": "lendo as linhas para verificar", "loading it afresh to compare": "carregando de novo para comparar",
    "how likely are the rows": "quão prováveis são as linhas", "how do {part} rows go on": "como continuam as linhas de {part}",
    "canary {place} of {count}": "canário {place} de {count}", "uploading to {place}": "enviando a {place}",
    "writing {place}": "escrevendo {place}",
    # -- documents that are searched
    **EXPORT_NOTES,
    **RAG_NOTES, **RUNNING_NOTES, **READING_NOTES, **QUANTISED, **WAYS_NOTES, **EXPLAINING_NOTES, **SMALLER_NOTES, **PLAN_NOTES, **WATCH_NOTES,
}  # fmt: skip

_VALUES = {
    "the mean of its tokens' states": "a média dos estados dos tokens", "the first token's state": "o estado do primeiro token",
    "the largest of its tokens' states": "os maiores estados dos tokens", "the last token's state": "o estado do último token",
    "train": "treino", "test": "teste", "validation": "validação", "development": "desenvolvimento",
    "a comma": "vírgula", "a semicolon": "ponto e vírgula", "a tab": "tabulação", "a bar": "barra",
    "an empty text": "texto vazio", "no label": "nenhum rótulo",
    "the label -1 (no agreed label)": "o rótulo -1 (sem rótulo de consenso)", "1 row": "1 linha",
}  # fmt: skip
"""Words of ours that may be filled into a note."""
_CLAUSE = 8
"""Spaces from which on what is filled in may be a clause that is a row itself."""
_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+")
_ROWS = re.compile(r"([\d,]+) rows")
_DECIMAL = re.compile(r"[-+]?\d[\d,]*\.\d+(e[-+]?\d+)?( ?%| [GM]B| m?s)?")
_AS_WRITTEN = frozenset({
    "base", "code", "column", "columns", "example", "file", "folder", "group", "key", "kind", "label", "list", "model", "name",
    "names", "path", "setting", "settings", "type", "written",
})  # fmt: skip
"""Places that hold names and what is typed into a study file: a number there keeps its point."""
_COUNTED = re.compile(r"(?P<what>.+): (?P<count>[\d,]+)", re.DOTALL)


def said_note(note: str, language: str) -> str:
    """Return a note in a language; one that is not known stays as it is."""
    if language == "en":
        return note
    return next(_said(note), note)


def without_examples(note: str) -> str:
    """Return a note with what it shows of the rows left out, for whoever should not see them."""
    for pattern, names, _ in _patterns():
        for start in (0, note.find(": ") + 2):
            if "example" in names and (match := pattern.fullmatch(note, start)) is not None:
                place = names.index("example") + 1
                return f"{note[: match.start(place)]}…{note[match.end(place) :]}"
    return note


def _said(note: str) -> Iterator[str]:
    """Yield what a note may say: a known one, one followed by how many there were, or one with its file's name before it."""
    if _DECIMAL.fullmatch(note):
        yield _with_comma(note)
    for pattern, names, other in _patterns():
        if (match := pattern.fullmatch(note)) is not None:
            yield other.format(**{name: _filled(name, own) for name, own in zip(names, match.groups(), strict=True)})
    if (match := _COUNTED.fullmatch(note)) is not None:
        yield from (f"{what}: {_value(match['count'])}" for what in _said(match["what"]))
    file, mark, rest = note.partition(": ")
    if mark:
        yield from (f"{file}: {own}" for own in _said(rest))


def _filled(name: str, value: str) -> str:
    """Return what stands at a place, in Portuguese."""
    if name not in _AS_WRITTEN and _DECIMAL.fullmatch(value):
        return _with_comma(value)
    return _value(value)


def _with_comma(number: str) -> str:
    return number.translate(str.maketrans(",.", ".,"))


def _value(value: str) -> str:
    if value in _VALUES:
        return _VALUES[value]
    if (rows := _ROWS.fullmatch(value)) is not None:
        return f"{_value(rows[1])} linhas"
    if value.count(" ") >= _CLAUSE:
        return next(_said(value), value)
    return (
        value.replace(",", ".")
        if _THOUSANDS.fullmatch(value)
        else value.replace("' and '", "' e '").replace(") and '", ") e '")
    )


@cache
def _patterns() -> list[tuple[re.Pattern[str], list[str], str]]:
    """Return each key as a pattern with its places' names and its Portuguese; those that say more themselves come first."""
    every = NOTES | SERVED
    order = sorted(every, key=lambda key: len(re.sub(r"\{\w+\}", "", key)), reverse=True)
    made = []
    for key in order:
        parts = re.split(r"\{(\w+)\}", key)
        pattern = "(.+?)".join(map(re.escape, parts[::2]))
        made.append((re.compile(pattern, re.DOTALL), parts[1::2], every[key]))
    return made
