"""Say in Portuguese what `afina watch` says; each channel has its own name in its file (afina/drift/channels)."""

from afina.registry import listing

__all__ = ["PORTUGUESE", "WATCH_NOTES"]

_CHANNELS = listing("afina.drift.channels", "channel").values()
PORTUGUESE: dict[str, str] = {
    **{entry.constants["title"]: entry.constants["portuguese"] for entry in _CHANNELS},
    "What has changed since release": "O que mudou desde o lançamento",
    "no --train: half of these rows stand for the train rows, and would be too well known if they were watched": "sem --train: metade destas linhas fica no lugar das de treino, e pareceria conhecida demais se fosse observada",
    "What leaves words, vectors, languages and answers as they were raises no alarm, and rows too few to test raise none either: no alarm does not mean that nothing has changed.": "O que deixa palavras, vetores, idiomas e respostas como eram não gera alarme, e linhas poucas demais para um teste também não: a falta de alarme não quer dizer que nada mudou.",
    "An estimated share of right answers holds while the adapter errs as it did on the rows that it was tested on; what is new to it may be answered surely and wrongly.": "A parcela estimada de respostas certas vale enquanto o adaptador erra como errava nas linhas em que foi testado; o que lhe é novo pode ser respondido com certeza e errado.",
    "Windows": "Janelas",
    "window": "janela",
    "alarms": "alarmes",
    "estimated": "estimadas",
    "labelled": "rotuladas",
    "too few rows": "linhas de menos",
    "learned from": "aprendida",
    "Time line": "Linha do tempo",
    "Alarms: of {over} windows without any change, the probability of one false alarm or more is at most {rate}%.": "Alarmes: em {over} janelas sem mudança alguma, a probabilidade de um alarme falso ou mais é de no máximo {rate}%.",
    "Each point is a window with its 95% interval; the dashed line is the value before, a ring an alarm, a gap a window that was not tested.": "Cada ponto é uma janela com seu intervalo de 95%; a linha tracejada é o valor de antes, um anel é um alarme, uma falha é uma janela que não foi testada.",
    "estimated right answers": "respostas certas estimadas",
    "Estimated by confidence, without labels (rings); true where labels came (points). On {samples} samples of test rows made unlike the rest it was {error} percentage points off on average, and nine of ten less than {most}; to take the share to be unchanged was {unchanged} off.": "Estimadas pela confiança, sem rótulos (anéis); verdadeiras onde vieram rótulos (pontos). Em {samples} amostras de linhas de teste tornadas diferentes das outras errou por {error} pontos percentuais em média, e nove em dez por menos de {most}; supor a parcela inalterada errou por {unchanged}.",
    "{what}: no more than chance explains in any of {windows} windows; furthest in {window}, {value}, {base} before.": "{what}: nada além do acaso em nenhuma de {windows} janelas; mais longe em {window}, {value}, {base} antes.",
    "{what}: an alarm in {alarms} of {windows} windows, the first {first}; furthest in {window}, {value}, {base} before.": "{what}: alarme em {alarms} de {windows} janelas, a primeira {first}; mais longe em {window}, {value}, {base} antes.",
    "{share}%": "{share}%",
    "{what} ({about})": "{what} ({about})",
    "change of: {what}": "mudança de: {what}",
    "{windows} windows": "{windows} janelas",
    "{place}; {times} times as far from the rows before as they are from each other": "{place}; {times} vezes mais longe das linhas de antes do que elas entre si",
}

WATCH_NOTES = {
    "window {name}": "janela {name}",
    "rows without a text": "linhas sem texto",
    "rows that cannot be read": "linhas que não podem ser lidas",
    "requests without a text, which the log had not been asked for yet": "pedidos sem texto, que ainda não se tinha pedido ao registro",
    "a last line that is cut off": "uma última linha cortada",
    "lines that are no request": "linhas que não são pedidos",
    "passed over, a last line that is cut off: {count}": "deixadas de lado, uma última linha que está cortada: {count}",
    "passed over, lines that are no request: {count}": "deixadas de lado, linhas que não são um pedido: {count}",
    "passed over, rows without a text: {count}": "deixadas de lado, linhas sem texto: {count}",
    "passed over, rows that cannot be read: {count}": "deixadas de lado, linhas que não podem ser lidas: {count}",
    "passed over, requests without a text, which the log had not been asked for yet: {count}": "deixados de lado, pedidos sem texto, que ainda não se tinha pedido ao registro: {count}",
    "passed over, {what}: {count}": "deixadas de lado, {what}: {count}",
    "windows with too few rows to be tested": "janelas com linhas de menos para um teste",
    "in windows with more rows, {most} each were drawn at random": "nas janelas com mais linhas, sortearam-se {most} de cada",
    "right answers '{label}', which is none of the adapter's labels": "respostas certas '{label}', que não é um dos rótulos do adaptador",
    "rows of {name} that cannot be read: {count}": "linhas de {name} que não podem ser lidas: {count}",
    "rows of {name} that have no id: {count}": "linhas de {name} sem id: {count}",
    "ids with several right answers in {name}, of which the last counts: {count}": "ids com várias respostas certas em {name}, das quais vale a última: {count}",
    "the window {name} has not ended, and is looked at when it has": "a janela {name} não terminou, e será vista quando terminar",
    "no row has a right answer in {path} yet: how many are right is not watched": "nenhuma linha tem ainda resposta certa em {path}: quantas acertam não se observa",
    "the reference has {rows} rows: only large changes can be told from chance": "a referência tem {rows} linhas: só mudanças grandes se distinguem do acaso",
    "each line of {name} is read as a text: it is no log of afina serve": "cada linha de {name} é lida como um texto: não é um registro de afina serve",
    "{path}: {count} files of other kinds are passed over": "{path}: {count} arquivos de outros tipos ficam de lado",
}
