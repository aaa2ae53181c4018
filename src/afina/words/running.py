"""Say in Portuguese what is noted of runs while they are carried out, by the English."""

__all__ = ["RUNNING_NOTES"]

RUNNING_NOTES = {
    "reweigh by {axis}: rows weigh from {low} to {high}": "reweigh por {axis}: as linhas pesam de {low} a {high}",
    "balance by {axis}: {count} cells of group and label, of {low} to {high} rows, come equally often": "balance por {axis}: {count} células de grupo e rótulo, de {low} a {high} linhas, vêm com a mesma frequência",
    "thresholds by {axis}: chosen on development rows of {groups}": "thresholds por {axis}: escolhidos em linhas de desenvolvimento de {groups}",
    "swap by {axis}: {count} rows are added with words swapped": "swap por {axis}: {count} linhas são acrescentadas com palavras trocadas",
    "all runs share this process (AFINA_EXECUTOR): their memory is what each took beyond what was held already": "todas as execuções dividem este processo (AFINA_EXECUTOR): a memória de cada uma é o que ela tomou além do que já estava em uso",
    "left the race after {step} of {steps} steps: {metric} {value} on the development split, place {place} of {of}": "saiu da corrida depois de {step} de {steps} passos: {metric} {value} no conjunto de desenvolvimento, lugar {place} de {of}",
    "report_to: {name} was told no more, as it failed ({why}); the study and its results are not touched by it": "report_to: {name} não recebe mais nada, pois falhou ({why}); o estudo e os resultados seguem iguais",
    "report_to: {name} was told no more, as it had not taken everything {value} s after the end; the study and its results are not touched by it": "report_to: {name} não recebe mais nada, pois não tinha recebido tudo {value} s depois do fim; o estudo e os resultados seguem iguais",
    "the machines of the cluster are not of one kind (executor: ray): times and memory of runs on different ones do not compare": "as máquinas do cluster não são de um só tipo (executor: ray): tempos e memória de execuções em máquinas diferentes não se comparam",
    "the audit leak has nothing to look at here: only what writes can give away what it learned from": "a auditoria leak não tem nada para ver aqui: só o que escreve pode entregar aquilo com que aprendeu",
    "the audit bias has nothing to look at here: bias is looked for in what gives classes or writes": "a auditoria bias não tem nada para ver aqui: o viés é procurado no que dá classes ou escreve",
}
