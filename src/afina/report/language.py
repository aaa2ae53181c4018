"""What a report says, in English and in Brazilian Portuguese; the English sentence is the key."""

from collections.abc import Callable, Mapping

from afina.errors import UsageError, nearest

__all__ = ["LANGUAGES", "Words", "check_language", "portuguese"]

LANGUAGES = ("en", "pt")

_PT = {
    "Which fine-tuning method is worth it": "Que método de ajuste vale a pena",
    "runs finished": "execuções concluídas",
    "failed": "falharam",
    "The answer": "A resposta",
    "on": "em",
    "{best} is best ({value}).": "{best} é o melhor ({value}).",
    "{best} is best by a difference that could be chance ({value}): it ties with {tied}.": "{best} é o melhor por uma diferença que pode ser acaso ({value}): empata com {tied}.",
    "{best} and {tied} have the same value ({value}).": "{best} e {tied} têm o mesmo valor ({value}).",
    "{best} has the highest value ({value}); its results were made under different conditions and are not tested.": "{best} tem o maior valor ({value}); os resultados foram obtidos em condições diferentes e não são testados.",
    "One seed only: training's own chance is not in the intervals.": "Só uma semente: o acaso do próprio treino não está nos intervalos.",
    "Nothing finished here.": "Nada foi concluído aqui.",
    "These results do not share one fingerprint (data, evaluator, versions, hardware or protocol differ); compare them with care. No differences are tested across fingerprints.": "Estes resultados não têm a mesma impressão digital (dados, avaliador, versões, equipamento ou protocolo diferem); compare-os com cautela. Diferenças entre impressões digitais não são testadas.",
    "Comparison": "Comparação",
    "method": "método",
    "test": "teste",
    "train": "treino",
    "peak memory": "memória de pico",
    "train time": "tempo de treino",
    "tokens/s": "tokens/s",
    "trainable": "treináveis",
    "% of all": "% do total",
    "energy": "energia",
    "rate": "taxa",
    "seeds": "sementes",
    "default": "padrão",
    "set": "definida",
    "searched": "procurada",
    "† {method}: {rates} of {of} rates could not be tried, so another may be better than this one ({why})": "† {method}: {rates} de {of} taxas não puderam ser experimentadas; outra pode ser melhor do que esta ({why})",
    "= marks what cannot be told from the best (Holm-corrected p of 0.05 or more).": "= marca o que não se distingue do melhor (p corrigido por Holm de 0,05 ou mais).",
    "Rates are defaults ({methods}) and the runs short ({steps} steps): a difference between methods may be one of rates. learning_rate: search gives each the best of several.": "As taxas são as padrão ({methods}) e as execuções, curtas ({steps} passos): uma diferença entre métodos pode ser de taxas. learning_rate: search dá a cada um a melhor de várias.",
    "Still learning when its steps were over, as the train metric still improved steeply in the last epoch: {methods}. More epochs or a higher rate would change its place.": "Ainda aprendia quando os passos acabaram, pois a métrica de treino ainda melhorou muito na última época: {methods}. Mais épocas ou uma taxa maior mudariam o seu lugar.",
    "Below the head alone on the train rows, though it trains the head too: {methods}. Its rate is too low or too high for so few steps.": "Abaixo da cabeça sozinha nas linhas de treino, embora também treine a cabeça: {methods}. A taxa é baixa ou alta demais para tão poucos passos.",
    "Accuracy by method and model": "Resultado por método e modelo",
    "Against memory and time": "Em função de memória e tempo",
    "peak memory, MB": "memória de pico, MB",
    "training time, s": "tempo de treino, s",
    "Pareto front": "fronteira de Pareto",
    "Learning curves": "Curvas de aprendizado",
    "Solid: test; dashed: train. A gap that opens is overfitting.": "Contínua: teste; tracejada: treino. Uma distância que se abre é sobreajuste.",
    "epoch": "época",
    "Which differences are real": "Que diferenças são reais",
    "first": "primeiro",
    "second": "segundo",
    "difference": "diferença",
    "95% interval": "intervalo de 95%",
    "p (Holm)": "p (Holm)",
    "verdict": "veredito",
    "tie": "empate",
    "paired bootstrap": "bootstrap pareado",
    "better": "melhor",
    "worse": "pior",
    "Differences are first minus second, tested on the same test items with seeds taken into account.": "As diferenças são primeiro menos segundo, testadas nos mesmos itens de teste e levando em conta as sementes.",
    "Tables in the published layout": "Tabelas no formato publicado",
    "Mean memory while training, GB": "Memória média durante o treino, GB",
    "Training time, minutes": "Tempo de treino, minutos",
    "Test {metric} after the last epoch": "{metric} de teste após a última época",
    "Test {metric} after the best epoch": "{metric} de teste após a melhor época",
    "{metric} by epoch, {model}": "{metric} por época, {model}",
    "Trainable parameters": "Parâmetros treináveis",
    "data set": "conjunto de dados",
    "In brackets: published.": "Entre colchetes: publicado.",
    "Adapters that are gone": "Adaptadores que já não existem",
    "adapter": "adaptador",
    "Trained and tested, and deleted since; to train one again delete its folder in runs and run the study.": "Treinados e testados, e apagados depois; para treinar um de novo apague a sua pasta em runs e execute o estudo.",
    "Failed runs": "Execuções que falharam",
    "Who left the race": "Quem saiu da corrida",
    "left at step": "saiu no passo",
    "metric": "métrica",
    "place": "lugar",
    "Judged on the development split, by the mean over seeds; those that are not here ran to the end, stopped early, or failed and had no place.": (
        "Julgados no conjunto de desenvolvimento, pela média sobre as sementes; os que não estão aqui correram até o fim, pararam antes, ou falharam e não tiveram lugar."
    ),
    "— where a run left or failed: what it would have taken alone is not known.": "— onde uma execução saiu ou falhou: não se sabe o que teria tomado sozinha.",
    "Runs that trained together": "Execuções treinadas juntas",
    "cohort": "coorte",
    "seconds of training steps": "segundos de passos de treino",
    "finished": "terminou",
    "left the race": "saiu da corrida",
    "diverged": "divergiu",
    "stopped early": "parou antes",
    "runs": "execuções",
    "in one pass": "numa passada",
    "train time (s)": "tempo de treino (s)",
    "alone, by profile (s)": "sozinhas, pelo perfil (s)",
    "peak memory (MB)": "pico de memória (MB)",
    "run": "execução",
    "reason": "motivo",
    "Set-up": "Configuração",
    "key": "chave",
    "value": "valor",
    "Light or dark": "Claro ou escuro",
    "Made by Afina {version}.": "Feito por Afina {version}.",
    "accuracy": "acurácia",
    "macro_f1": "F1 macro",
    "binary_f1": "F1 da segunda classe",
    "f1": "F1",
    "precision": "precisão",
    "recall": "revocação",
    "word_accuracy": "acurácia por palavra",
    "By type of entity": "Por tipo de entidade",
    "F1 of the test split by type of entity, %; means over seeds.": "F1 do teste por tipo de entidade, %; médias sobre as sementes.",
    "What the best one gets wrong": "O que o melhor erra",
    "By class": "Por classe",
    "class": "classe",
    "taken for": "confundida com",
    "test rows": "linhas de teste",
    "test row": "linha de teste",
    "row": "linha",
    "What went wrong": "O que deu errado",
    "precision (%)": "precisão (%)",
    "recall (%)": "revocação (%)",
    "F1 (%)": "F1 (%)",
    "Precision: of what was called so, how much is; recall: of what is so, how much was found.": "Precisão: do que recebeu esse nome, quanto está certo; revocação: do que é assim, quanto foi encontrado.",
    "Label against prediction": "Rótulo e previsão",
    "label": "rótulo",
    "prediction": "previsão",
    "text": "texto",
    "probability": "probabilidade",
    "Wrong answers": "Respostas erradas",
    "Farthest off": "As mais distantes",
    "off by": "distância",
    "The first {most} of {all}.": "As primeiras {most} de {all}.",
    "The texts are not in the study's folder any more.": "Os textos já não estão na pasta do estudo.",
    "Answers that are sure enough": "Respostas com certeza suficiente",
    "at least": "pelo menos",
    "all": "todas",
    "answered (%)": "respondidas (%)",
    "accuracy of these (%)": "acurácia destas (%)",
    "of these wrong": "erradas entre elas",
    "left to a person": "deixadas a uma pessoa",
    "Where less sure rows go to a person (afina predict --at-least); [ ]: 95% interval by the rows that are answered. A threshold that is chosen on these rows does a little worse on others.": "Quando as linhas menos certas vão para uma pessoa (afina predict --at-least); [ ]: intervalo de 95% pelas linhas respondidas. Um limiar escolhido nestas linhas faz um pouco pior em outras.",
    "95% interval by the {rows} test rows": "intervalo de 95% pelas {rows} linhas de teste",
    "By its {rows} test rows alone it could lie anywhere from {low} to {high}{unit}.": "Só pelas suas {rows} linhas de teste, o valor pode estar em qualquer ponto de {low} a {high}{unit}.",
    "What was chosen": "O que foi escolhido",
    "data": "dados",
    "Every setting, version and machine": "Todas as opções, versões e a máquina",
    "mcc": "MCC",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "mse": "EQM",
    "perplexity": "perplexidade",
    "loss": "perda",
    "token_accuracy": "acurácia por token",
    "r2": "R²",
    "mean and 95% interval over seeds": "média e intervalo de 95% sobre as sementes",
}


def portuguese(more: Mapping[str, str]) -> dict[str, str]:
    """Return the report's phrases with further ones."""
    return {**_PT, **more}


def check_language(language: str) -> None:
    """Raise `UsageError` for a language that Afina does not speak."""
    if language not in LANGUAGES:
        raise UsageError(f"--language is {' or '.join(LANGUAGES)}, not '{language}'{nearest(language, LANGUAGES)}")


class Words:
    """Phrases and numbers in one language; a report's phrases unless others are given."""

    def __init__(self, language: str, portuguese: Mapping[str, str] = _PT) -> None:
        check_language(language)
        self.language = language
        self._phrase: Callable[[str], str] = (
            (lambda text: portuguese.get(text, text)) if language == "pt" else (lambda text: text)
        )

    def __call__(self, text: str, **values: object) -> str:
        return self._phrase(text).format(**values) if values else self._phrase(text)

    def number(self, value: float | None, digits: int = 0) -> str:
        """Write a number with grouped thousands, and a decimal comma where the language has one; — for None."""
        if value is None:
            return "—"
        return self._written(f"{value:,.{digits}f}")

    def shortest(self, value: float) -> str:
        """Write a number with as many digits as it needs, ten at most."""
        return self._written(f"{value:,.10g}")

    def _written(self, text: str) -> str:
        return text.translate(str.maketrans(",.", ".,")) if self.language == "pt" else text

    def compact(self, value: float | None) -> str:
        """Write a number with three digits that count."""
        if value is None:
            return "—"
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 or value == 0 else 3
        return self.number(value, digits)
