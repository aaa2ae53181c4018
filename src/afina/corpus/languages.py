"""Tell a text's language by its script and its function words; small, offline, and silent when unsure.

Function words (articles, prepositions, pronouns, auxiliaries) make up a third to a half of running text and hardly
overlap between languages, so that a few dozen a language decide for a sentence. A text with too few of them is "unknown".
"""

import re
import unicodedata
from collections import Counter, defaultdict

__all__ = ["UNKNOWN", "language_of"]

UNKNOWN = "unknown"

_FUNCTION_WORDS = {
    "en": "the a an of and to in is that it for was on are with as his they be at this have from or had by not but what all "
    "were when we there can your which their said if will each about how up out them then she many some so these "
    "would other into has more her him could no my than been who its now did get i you he me do does please why where "
    "our us am i'm it's don't any while after give make write two people woman man using off down near next",
    "pt": "o a os as de do da dos das em no na nos nas um uma uns umas que e é não para por com se mais como mas foi ao ele "
    "ela eles elas seu sua seus suas ou ser quando muito há já está eu também só pelo pela até isso entre era depois "
    "sem mesmo aos ter me lhe você vocês nós meu minha este esta esse essa isto aquele são pode sobre qual quais "
    "estão tem têm às à onde porque quem fazer preciso quero olá obrigado obrigada bom boa dois duas homem mulher num "
    "numa estou foram",
    "es": "el la los las de del en y a que un una unos unas es no por con para se su sus al lo como más pero le ya o este "
    "sí porque esta entre cuando muy sin sobre también me hasta hay donde quien desde todo nos durante todos uno les "
    "ni contra otros ese eso ante ellos e esto mí antes algunos qué yo otro otras él usted ustedes está están son fue "
    "tengo puede cómo cuál gracias hola dos hombre mujer mi tu",
    "fr": "le la les de du des et à un une est en que qui dans il elle ils elles ne pas pour sur au aux avec ce cette ces "
    "se son sa ses plus par je vous nous mais ou si leur leurs était être fait comme tout tous on mon ma mes votre "
    "vos notre y ont sont été avoir aussi même bien où sans deux très peut d'un d'une c'est l' j'ai n'est qu'il "
    "comment pourquoi bonjour merci",
    "it": "il lo la i gli le di del della dei delle dello e è a un una uno in che non per con si da dal dalla al alla ai "
    "alle nel nella nei sul sulla sono ha hanno come più ma anche se o io lui lei noi voi loro mi ti ci questo questa "
    "quello quella suo sua suoi essere stato era cosa perché quando dove molto tutti due buongiorno grazie uomo donna",
    "de": "der die das den dem des und ist ein eine einen einem einer in im zu von mit auf für nicht es sich auch als an er "
    "sie ich wir ihr so dass wie oder aber wenn hat haben war sind wird werden bei nach aus am um noch nur kann mein "
    "dein sein bin was wo warum über zum zur vom durch mehr sehr man diese dieser dieses bitte danke mann frau zwei",
    "nl": "de het een en van ik te dat die in hij niet zijn is was op aan met als voor er maar om hem dan zou of wat mijn "
    "men dit zo door over ze zich bij ook tot je mij uit der daar haar naar heb hoe heeft hebben deze u want nog zal "
    "me zij nu geen iets werd wij ons wordt kan waar waarom graag twee vrouw man",
    "pl": "i w na z do się nie to jest że o jak ale po co tak za od jego jej ich przez był była było są dla czy tylko tym "
    "ten ta te który która które już bardzo może by być mam masz jestem proszę dziękuję gdzie kiedy dlaczego oraz lub "
    "dwa",
    "sv": "och i att det som en på är av för med till den har de inte om ett han hon men var jag sig från vi så kan när nu "
    "man skulle eller vad hur där mig du ni detta denna dessa efter vid mycket också två hej tack",
    "tr": "ve bir bu da de için ile çok ne var o mi ben sen biz siz ama daha olarak gibi kadar sonra en her değil olan "
    "nasıl neden nerede mı mu mü şu ya ki hem iki merhaba teşekkürler lütfen",
    "ro": "și în de la cu pe un o este nu că se din mai să a care pentru ce sunt au fost ca dar prin sau după cum eu tu el "
    "ea noi voi ei al ale lui unde când foarte bine două",
    "id": "yang dan di ke dari untuk dengan pada ini itu adalah tidak saya anda kami kita mereka akan dalam juga atau "
    "karena ada oleh bisa apa bagaimana seorang sebuah telah sudah lebih dua",
}  # fmt: skip
_WORDS: dict[str, list[str]] = {}
for _language, _words in _FUNCTION_WORDS.items():
    for _word in set(_words.split()):
        _WORDS.setdefault(_word, []).append(_language)

_SCRIPTS = (
    ("HIRAGANA", "ja"), ("KATAKANA", "ja"), ("HANGUL", "ko"), ("CJK", "zh"), ("ARABIC", "ar"), ("HEBREW", "he"),
    ("GREEK", "el"), ("DEVANAGARI", "hi"), ("THAI", "th"), ("CYRILLIC", "ru"),
)  # fmt: skip
_LETTERS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_NO_WORDS = re.compile(r"https?://\S+|www\.\S+|[@#]\s?\S+|(?<!\S)[^\s@]++@\S+")
_MARKED = {"ã": "pt", "õ": "pt", "ñ": "es", "¿": "es", "¡": "es", "ß": "de", "ł": "pl", "ę": "pl", "ą": "pl", "ș": "ro",
           "ț": "ro", "å": "sv", "ğ": "tr", "ş": "tr", "ı": "tr"}  # fmt: skip
"""Letters that hardly any other language of the list has; each text that has one gets half a word for it."""
_ENDINGS = {
    "ing": "en", "tion": "en", "ness": "en", "ould": "en", "ght": "en", "ção": "pt", "ções": "pt", "ões": "pt", "dade": "pt",
    "ável": "pt", "ário": "pt", "inho": "pt", "ndo": "pt", "ción": "es", "ciones": "es", "dad": "es", "zione": "it",
    "zioni": "it", "tà": "it", "eux": "fr", "ment": "fr", "ung": "de", "lich": "de", "keit": "de", "isch": "de", "lijk": "nl",
    "ość": "pl", "lar": "tr", "ler": "tr",
}  # fmt: skip
"""Endings of longer words, each half a word of evidence."""
_READ = 4_000
"""Characters that are looked at: more would not decide better."""


def language_of(text: str) -> str:
    """Return a text's language as a two-letter code (ISO 639-1), or `unknown`.

    Languages in other scripts are told by the script alone: all Cyrillic text counts as `ru`, all Arabic as `ar`.
    """
    # Addresses and names of people are in no language.
    text = _NO_WORDS.sub(" ", text[:_READ].lower())
    words = _LETTERS.findall(text)
    if not words:
        return UNKNOWN
    if script := _script(words):
        return script
    hits: dict[str, float] = defaultdict(float)
    for word in words:
        languages = _WORDS.get(word.replace("’", "'"), ())
        # An ending is asked only where no function word decides: it says less.
        if not languages and (ending := _ending(word)):
            hits[ending] += 0.5
        for language in languages:
            # A word that several languages share says less.
            hits[language] += 1 / len(languages)
    for letter in set(_MARKED) & set(text):
        hits[_MARKED[letter]] += 0.5
    best = sorted(hits.items(), key=lambda hit: -hit[1])[:2]
    # At least a few words in a hundred, and clearly more than of the next language: `unknown` is better than wrong.
    if not best or best[0][1] < max(0.5, 0.04 * len(words)) or (len(best) > 1 and best[0][1] < 1.15 * best[1][1]):
        return UNKNOWN
    return best[0][0]


def _ending(word: str) -> str | None:
    # The longest first, and never the whole word.
    return next((_ENDINGS[word[-n:]] for n in (6, 5, 4, 3, 2) if len(word) > n + 1 and word[-n:] in _ENDINGS), None)


def _script(words: list[str]) -> str | None:
    """Return the language of a script that is not Latin, where at least a third of the words are in it."""
    counts: Counter[str] = Counter()
    # As many words as show a script; a quotation in another one does not.
    for word in words[:200]:
        if not word[0].isascii():
            name = unicodedata.name(word[0], "")
            if written_in := next((language for start, language in _SCRIPTS if name.startswith(start)), None):
                counts[written_in] += 1
    # Kana anywhere make a text Japanese, whose nouns are written with Chinese characters.
    if any("\u3040" <= letter <= "\u30ff" for word in words[:200] for letter in word):
        counts["ja"] += 1
    if not counts or 3 * sum(counts.values()) < len(words[:200]):
        return None

    # Japanese is written with Chinese characters too.
    return "ja" if counts["ja"] else counts.most_common(1)[0][0]
