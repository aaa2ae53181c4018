"""Say in Portuguese what `afina compress` and optimisers say; the English sentence is the key."""

__all__ = ["PORTUGUESE", "SMALLER_NOTES"]

PORTUGUESE = {
    "loading the model": "carregando o modelo",
    "before": "antes",
    "after": "depois",
    "parameters": "parâmetros",
    "weights on disk (MB)": "pesos em disco (MB)",
}

SMALLER_NOTES = {
    "soft targets (temperature {temperature})": "alvos suaves (temperatura {temperature})",
    "soft targets": "alvos suaves",
    "hard labels": "rótulos do professor",
    "hidden states": "estados internos",
    "offload: disk is not counted: memory is that of the whole model, where a few layers will do, and the time lacks the reading of all layers: twice a step, and once for each batch that is evaluated.": "offload: disk não entra na conta: a memória é a do modelo inteiro, quando bastam algumas camadas, e no tempo falta a leitura de todas as camadas: duas vezes por passo, e uma por lote avaliado.",
    "audits: {name} is not counted: each run answers up to {rows} texts more, and each base once.": "audits: {name} não entra na conta: cada execução responde até {rows} textos a mais, e cada base, uma vez.",
    "teacher: is not counted: it reads each train row once before the first run, with the memory and time that a model of its size takes for that.": "teacher: não entra na conta: ele lê cada linha de treino uma vez antes da primeira execução, com a memória e o tempo que um modelo do seu tamanho leva para isso.",
    "executor: accelerate is not counted: memory and time are those of one process with all of the model.": "executor: accelerate não entra na conta: memória e tempo são os de um processo com o modelo inteiro.",
    "each run is carried out by {n} processes, the model's weights divided among them ({path}); its memory is that of the first": "cada execução é feita por {n} processos, com os pesos do modelo divididos entre eles ({path}); a memória é a do primeiro",
    "each run is carried out by {n} processes, the whole model in each ({path}); its memory is that of the first": "cada execução é feita por {n} processos, com o modelo inteiro em cada um ({path}); a memória é a do primeiro",
    "{list}: the learning rate is auto's, whose rule was found with AdamW and is taken for {title} too; learning_rate: search tries others.": "{list}: a taxa de aprendizado é a de auto, cuja regra foi encontrada com o AdamW e vale aqui também para {title}; learning_rate: search experimenta outras.",
    "looking at what matters least": "vendo o que menos importa",
    "changing the weights": "mudando os pesos",
    "Dropped layer {which} of {count}, which turns its input by {angle} degrees, the least.": "Removida a camada {which} de {count}, que gira a sua entrada em {angle} graus, menos que as outras.",
    "Dropped layers {which} of {count}, which turn their input by {angle} degrees, the least.": "Removidas as camadas {which} de {count}, que giram a sua entrada em {angle} graus, menos que as outras.",
    "Kept {some} of {count} feed-forward neurons in each layer; its heads stay, since with fewer a {kind}'s would have another size.": "Ficam {some} de {count} neurônios da rede feed-forward em cada camada; as cabeças ficam, pois com menos as de um {kind} teriam outro tamanho.",
    "Kept {some} of {count} feed-forward neurons in each layer, and {left} of {of} groups of heads.": "Ficam {some} de {count} neurônios da rede feed-forward em cada camada, e {left} de {of} grupos de cabeças.",
    "Kept {left} of {of} heads in each layer.": "Ficam {left} de {of} cabeças em cada camada.",
    "Kept {left} of {of} groups of {heads} heads in each layer.": "Ficam {left} de {of} grupos de {heads} cabeças em cada camada.",
    "{layers} linear layers have rank {rank} now, written whole, as plain transformers loads them: the checkpoint is as large and as slow as before. As two factors they would be {share}% of their size; the method svd (rank: {same}) trains them so.": "{layers} camadas lineares têm agora posto {rank}, escritas inteiras, como o transformers as carrega: o checkpoint é tão grande e tão lento quanto antes. Em dois fatores teriam {share}% do seu tamanho; o método svd (rank: {same}) treina assim.",
    "{zeros} of {numbers} weights in {layers} linear layers are zero now. A baseline: the checkpoint is as large and as slow as before, since zeros are stored and multiplied like any number.": "{zeros} de {numbers} pesos em {layers} camadas lineares são agora zero. Uma linha de base: o checkpoint é tão grande e tão lento quanto antes, pois zeros são guardados e multiplicados como qualquer número.",
}
