"""What columns are usually called, in English and in Portuguese; neither case nor accents matter."""

import re
import unicodedata
from collections.abc import Iterable

__all__ = ["BODIES", "LABELS", "MESSAGES", "PAIRS", "TEXTS", "TITLES", "plain_name", "usual_name", "usual_names"]

PAIRS = (
    ("text", "text_pair"), ("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2"),
    ("question", "sentence"), ("premissa", "hipotese"), ("frase1", "frase2"), ("sentenca1", "sentenca2"),
    ("texto1", "texto2"), ("text1", "text2"), ("pergunta1", "pergunta2"),
)  # fmt: skip
"""Two texts that belong together."""
TEXTS = (
    "text", "sentence", "content", "review", "body", "message", "comment", "comment_text", "tweet", "review_text",
    "premise", "sentence1", "question1", "question", "texto", "mensagem", "sentenca", "frase", "comentario", "avaliacao",
    "corpo", "conteudo", "review_comment_message", "tweet_text", "pergunta", "reclamacao", "depoimento", "description",
    "descricao", "summary", "resumo",
)  # fmt: skip
"""A text, the likelier names first."""
TITLES = ("title", "subject", "headline", "titulo", "assunto", "manchete", "review_title")
"""What stands over a text, and is one where there is no other."""
BODIES = ("description", "descricao", "summary", "resumo")
"""What stands under a title and says only with it what it is about."""
LABELS = (
    "label", "labels", "class", "category", "target", "score", "stars", "sentiment", "answer", "class_index", "rotulo",
    "etiqueta", "classe", "categoria", "nota", "sentimento", "estrelas", "pontuacao", "polaridade", "rating", "polarity",
    "intent", "intencao", "alvo", "tipo",
)  # fmt: skip
MESSAGES = ("messages", "conversations", "conversation", "mensagens", "conversas")
"""Lists of what was said."""


def plain_name(name: str) -> str:
    """Return a column's name without accents, case, and marks at its ends: `Descrição ` is `descricao`."""
    letters = unicodedata.normalize("NFKD", name).lower()
    return re.sub(r"[\W_]+", "_", "".join(letter for letter in letters if not unicodedata.combining(letter))).strip("_")


def usual_name(names: Iterable[str], usual: Iterable[str]) -> str | None:
    """Return the column that has the first of the usual names that there is."""
    known = {plain_name(name): name for name in reversed(list(names))}
    return next((known[name] for name in usual if name in known), None)


def usual_names(names: Iterable[str]) -> bool:
    """Whether any of the names is one that a text or a label usually has."""
    return usual_name(names, (*TEXTS, *TITLES, *LABELS, *MESSAGES, "tokens", "words")) is not None
