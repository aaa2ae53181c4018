"""The vocabulary of column names, English and Portuguese, that every reader of rows finds its columns by.

Names are compared without case, accents and marks at their ends (`plain_name`), and stand here in that form. In each tuple
the likelier name comes first.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

__all__ = [
    "ANSWERABLE",
    "ANSWERS_TO_CHOOSE",
    "ASKED",
    "BODIES",
    "CHOSEN",
    "CONTEXTS",
    "CONVERSATION_IDS",
    "DOCUMENTS",
    "EITHER_PAIRS",
    "HISTORIES",
    "INSTRUCTIONS",
    "LABELS",
    "MESSAGES",
    "MESSAGE_LISTS",
    "OUTPUTS",
    "PAIRS",
    "PASSAGES",
    "PASSAGE_ANSWERS",
    "PASSAGE_IDS",
    "PASSAGE_QUESTIONS",
    "PROMPTS",
    "QUESTIONS",
    "REFERENCES",
    "REJECTED",
    "RIGHT_PASSAGES",
    "ROLE_KEYS",
    "SAID_KEYS",
    "SENTENCES",
    "SPANS",
    "SYSTEMS",
    "TAG",
    "TAGS",
    "TEXTS",
    "TEXT_PAIRS",
    "TITLES",
    "TOOLS",
    "TRANSCRIPTS",
    "TRANSLATIONS",
    "TURNS",
    "UNANSWERABLE",
    "WORD",
    "WORDS",
    "WRONG_PASSAGES",
    "plain_name",
    "plain_names",
    "usual_name",
    "usual_names",
    "usual_pair",
]

# -- texts and what is said of them

TEXT_PAIRS = (
    ("text", "text_pair"), ("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2"),
    ("question", "sentence"), ("premissa", "hipotese"), ("frase1", "frase2"), ("sentenca1", "sentenca2"),
    ("texto1", "texto2"), ("text1", "text2"), ("pergunta1", "pergunta2"),
)  # fmt: skip
"""Two texts that are read together, as in natural language inference."""
TRANSCRIPTS = (
    "text", "transcript", "dialogue", "dialog", "conversation", "chat", "content", "sentence", "texto", "conversa",
    "transcricao", "dialogo", "conteudo",
)  # fmt: skip
"""Texts that may be whole dialogues, each line with its speaker before it."""
BODIES = ("description", "descricao", "summary", "resumo")
"""Texts under a title, which say only with it what they are about."""
TEXTS = (
    "text", "sentence", "content", "review", "body", "message", "comment", "comment_text", "tweet", "review_text",
    "premise", "sentence1", "question1", "question", "texto", "mensagem", "sentenca", "frase", "comentario", "avaliacao",
    "corpo", "conteudo", "review_comment_message", "tweet_text", "pergunta", "reclamacao", "depoimento", "transcript",
    "dialogue", "dialog", "conversation", "chat", "conversa", "transcricao", "dialogo", "article", "document", "artigo",
    "documento", *BODIES,
)  # fmt: skip
TITLES = ("title", "subject", "headline", "titulo", "assunto", "manchete", "review_title")
"""Lines over a text; each is a text itself where there is no other."""
LABELS = (
    "label", "labels", "class", "category", "target", "score", "stars", "sentiment", "answer", "class_index", "rotulo",
    "etiqueta", "classe", "categoria", "nota", "sentimento", "estrelas", "pontuacao", "polaridade", "rating", "polarity",
    "intent", "intencao", "alvo", "tipo",
)  # fmt: skip
ANSWERS_TO_CHOOSE = ("choices", "options", "answers", "endings", "alternativas", "opcoes")
"""Lists of answers to choose from; the row's label says which is right."""

# -- what is asked and what is answered

INSTRUCTIONS, OUTPUTS = ("instruction", "instrucao"), ("output", "saida")
"""Alpaca's names of a question and its answer."""
PAIRS = (
    ("prompt", "completion"), ("prompt", "response"), ("question", "answer"), ("question", "response"),
    ("query", "response"), ("query", "answer"), ("instruction", "output"), ("instruction", "response"),
    ("instruction", "answer"), ("user", "assistant"), ("human", "assistant"), ("input", "output"), ("comment", "reply"),
    ("prompt", "answer"), ("prompt", "output"), ("pergunta", "resposta"), ("comentario", "resposta"),
    ("usuario", "assistente"), ("instrucao", "saida"), ("instrucao", "resposta"), ("prompt", "resposta"),
    ("entrada", "saida"), ("source", "target"), ("article", "highlights"), ("document", "summary"),
    ("dialogue", "summary"), ("artigo", "resumo"), ("documento", "resumo"), ("dialogo", "resumo"), ("context", "response"),
    ("contexto", "resposta"),
)  # fmt: skip
"""A question, or a text to read, and the answer to it, or what is written of it."""
EITHER_PAIRS = (("text", "summary"), ("text", "target"), ("texto", "resumo"), ("texto", "alvo"))
"""Names that are as usual for a text with its label, or its headline: a pair only to who wants pairs."""
CONTEXTS = ("input", "context", "entrada", "contexto")
"""Texts that a question or an instruction is about, read under it."""
QUESTIONS = tuple(dict.fromkeys(question for question, _ in PAIRS))
CHOSEN, REJECTED = (
    ("chosen", "preferred", "escolhida", "escolhido"),
    ("rejected", "dispreferred", "rejeitada", "rejeitado"),
)
"""The better and the worse of two answers (DPO)."""
PROMPTS = (
    *dict.fromkeys(("prompt", "question", "instruction", "source", "document", "input", *QUESTIONS, "text", "texto")),
)
"""Questions put to a model whose answers are measured."""
REFERENCES = (
    *dict.fromkeys(("reference", "answer", "response", "completion", "output", "target", "summary", "reply", "referencia",
                    *(answer for _, answer in PAIRS))),
)  # fmt: skip
"""Good answers, against which a model's are measured."""
SYSTEMS = ("system", "sistema")
HISTORIES = ("history", "historico")
"""Questions and answers before a row's own (Alpaca)."""
TOOLS = ("tools", "functions", "ferramentas")
"""Declarations of the tools that may be called."""
TRANSLATIONS = ("translation", "traducao")

# -- dialogues

MESSAGES = (
    "messages", "conversations", "conversation", "mensagens", "conversas", "dialogue", "dialog", "turns", "chat", "conversa",
    "dialogo", "turnos",
)  # fmt: skip
"""Lists of messages; some of these names are a transcript's too, and what is no list is not taken for one."""
ROLE_KEYS = ("role", "from", "speaker", "author", "sender", "papel", "autor", "remetente")
"""The speaker: a message's key, or a column where every row is a message."""
SAID_KEYS = ("content", "value", "text", "message", "utterance", "body", "conteudo", "texto", "mensagem")
"""A message's text: its key, or a column where every row is a message."""
CONVERSATION_IDS = (
    "conversation_id", "dialogue_id", "dialog_id", "conversation", "thread_id", "session_id", "chat_id", "conversa_id",
    "id_conversa", "dialogo_id",
)  # fmt: skip
"""The conversation that a message belongs to."""
TURNS = ("turn", "turn_id", "turn_number", "turno", "position", "index", "timestamp", "created_at", "date")
"""A message's place in its conversation."""

MESSAGE_LISTS = ("messages", "conversations")
"""Lists of messages in public formats, which use these names for nothing else."""

# -- words with tags

WORDS = ("tokens", "words", "palavras")
TAGS = ("tags", "ner_tags", "labels", "label", "rotulos", "etiquetas")
WORD = ("word", "token", "palavra")
"""One word, where every row is one."""
TAG = ("tag", "ner_tag", "ner", "label", "entity", "iob", "bio", "rotulo", "etiqueta")
SENTENCES = (
    "sentence", "sentence_id", "sent_id", "sentence_idx", "sentenca", "sentenca_id", "frase_id", "id_sentenca", "id_frase",
)  # fmt: skip
"""The sentence that a word belongs to."""
DOCUMENTS = ("doc_id", "document_id", "id")
"""The document that a word belongs to; too common to show by themselves that a table holds tagged words."""
SPANS = ("label", "labels", "entities", "spans", "annotations", "entity", "entidades", "anotacoes")
"""Places in a text where entities begin and end."""

# -- reading comprehension

PASSAGE_QUESTIONS = ("question", "pergunta")
PASSAGES = ("context", "contexto")
PASSAGE_ANSWERS = ("answers", "respostas")
"""Objects with the texts of all answers that were given (SQuAD)."""

ANSWERABLE = ("answerable", "has_answer", "tells", "respondivel", "tem_resposta")
"""Columns of true and false: whether a text, or all documents, tell the answer to a question."""
UNANSWERABLE = ("is_impossible", "impossible", "unanswerable", "impossivel", "sem_resposta")
"""Columns that say whether they do not (SQuAD 2.0)."""

# -- retrieval: questions and the passages that answer them

ASKED = ("question", "query", "anchor", "pergunta", "consulta", "questao", "text", "texto")
RIGHT_PASSAGES = (
    "passage", "passages", "positive", "positives", "pos", "context", "contexts", "passagem", "passagens", "positivo",
    "positivos", "contexto", "contextos", "trecho", "trechos", "document", "documents", "documento", "documentos",
    "paragraph", "paragrafo", "passage_id", "passage_ids", "doc_id", "doc_ids", "document_id", "document_ids", "id_documento",
    "ids_documentos", "id_passagem", "ids_passagens", "text", "texto",
)  # fmt: skip
"""A passage that answers, a list of them, or where passages have a file of their own, their ids."""
WRONG_PASSAGES = (
    "negative", "negatives", "neg", "hard_negative", "hard_negatives", "negative_passages", "negativo", "negativos",
    "negativa", "negativas",
)  # fmt: skip
PASSAGE_IDS = (
    "id", "_id", "passage_id", "doc_id", "document_id", "docid", "pid", "corpus_id", "id_passagem", "id_documento",
)  # fmt: skip


@lru_cache(maxsize=4096)
def plain_name(name: str) -> str:
    """Return a column's name without accents, case, and marks at its ends: `Descrição ` is `descricao`."""
    letters = unicodedata.normalize("NFKD", name).lower()
    # Marks within a name become one underscore, as people put spaces, points or dashes there.
    return re.sub(r"[\W_]+", "_", "".join(letter for letter in letters if not unicodedata.combining(letter))).strip("_")


def plain_names(names: Iterable[object]) -> dict[str, str]:
    """Return columns' names by their plain form; of two that have the same one, the first."""
    # Backwards, so that the first of two stays.
    return {plain_name(str(name)): str(name) for name in reversed(list(names))}


def usual_name(names: Iterable[str], usual: Iterable[str]) -> str | None:
    """Return the column that has the first of the usual names that there is."""
    known = plain_names(names)
    return next((known[name] for name in usual if name in known), None)


def usual_pair(names: Iterable[str], usual: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """Return the columns that have the first of the usual pairs of names of which both are there."""
    known = plain_names(names)
    return next(((known[first], known[second]) for first, second in usual if first in known and second in known), None)


def usual_names(names: Iterable[str]) -> bool:
    """Return whether any of the names is one that a text or a label usually has."""
    return usual_name(names, (*TEXTS, *TITLES, *LABELS, *MESSAGES, *WORDS)) is not None
