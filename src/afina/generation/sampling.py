"""Choose each row's next token from its logits, by its own settings and its own random numbers."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from afina.generation.rows import ChosenToken, Row
from afina.generation.settings import GenerationSettings

__all__ = ["choose", "draw"]


def choose(rows: Sequence[Row], logits: Tensor) -> list[ChosenToken | None]:
    """Return a token for each row of logits (B, V); None for a row whose logits are no numbers."""
    # In bfloat16 neighbours are 0.125 apart where logits are 20, by which a penalty is lost.
    logits = logits.float()
    # Rows of one distribution are computed together; a row's choice must not depend on the rows beside it.
    groups: dict[GenerationSettings, list[int]] = {}
    for index, row in enumerate(rows):
        # One value for all settings that do not change from what a token is drawn.
        groups.setdefault(row.distribution, []).append(index)
    tokens = [0] * len(rows)
    for settings, places in groups.items():
        here = [rows[index] for index in places]
        scores = logits if len(places) == len(rows) else logits[places]
        scores = _scores(settings, here, scores)
        # Where nothing is drawn the answer does not depend on the seed.
        chosen = draw(scores, [row.draws for row in here]) if settings.draws else scores.argmax(dim=1)
        for index, token in zip(places, chosen.tolist(), strict=True):
            tokens[index] = token

    # The largest is no number where one of them is none.
    sound = torch.isfinite(logits.amax(dim=1)).tolist()
    return [
        _said(row, token, logits[index]) if sound[index] else None
        for index, (row, token) in enumerate(zip(rows, tokens, strict=True))
    ]


def draw(scores: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Draw a token (B,) for each row of scores (B, V): argmax(score - log(-log u)), one u of the row's own for each token.

    Gumbel, 1954: it has softmax's probabilities. Where instead one number is looked up among the sums of all tokens' shares,
    the sums' rounding, which is another in each batch, chooses among rare tokens: one answer in ten became another.
    """
    # Float32 gives multiples of 2^-24, with which a token below that share is hardly ever drawn, and most of a large
    # vocabulary's are. The number is u = 1 - number, as small ones are told apart where those near 1 are not.
    numbers = torch.stack([_numbers(scores.shape[1], own) for own in generators])
    # Of 0 there is no logarithm.
    noise = numbers.float().clamp_(2.0**-54, 1 - 2.0**-24).neg_().log1p_().neg_().log_()
    return (scores.float() - noise.to(scores.device)).argmax(dim=1)


def _numbers(count: int, generator: torch.Generator) -> Tensor:
    """Return numbers (count,) between 0 and 1, of which one more changes none, nor any of a later call.

    A batch is as wide as the largest vocabulary in it, and a row's text must not depend on whose that is.
    """
    here = torch.Generator().manual_seed(int(torch.randint(1 << 32, (1,), generator=generator)))
    return torch.rand(count, generator=here, dtype=torch.float64)


def _scores(settings: GenerationSettings, rows: Sequence[Row], logits: Tensor) -> Tensor:
    if settings.presence_penalty or settings.frequency_penalty:
        logits = logits.clone()
        for scores, row in zip(logits, rows, strict=True):
            # Of the answer alone, as OpenAI has them, and not of the prompt.
            for token, count in Counter(row.tokens).items():
                scores[token] -= settings.presence_penalty + settings.frequency_penalty * count
    processors = settings.processors()
    if not processors:
        return logits
    repeated = _so_far(rows, logits.device) if settings.repetition_penalty != 1.0 else None
    return processors(repeated, logits)  # type: ignore[no-any-return]


def _so_far(rows: Sequence[Row], device: torch.device) -> Tensor:
    """Return the tokens so far (B, S), for the repetition penalty; short rows are filled up with their last token."""
    sequences = [row.so_far for row in rows]
    width = max(map(len, sequences))
    # A token that stands there again is penalised once only, so filling up with one changes nothing.
    filled = [ids + ids[-1:] * (width - len(ids)) for ids in sequences]
    return torch.tensor(filled, dtype=torch.long, device=device).view(len(rows), width)


def _said(row: Row, token: int, logits: Tensor) -> ChosenToken:
    if row.settings.log_probabilities is None:
        return ChosenToken(token)
    shares = torch.log_softmax(logits.float(), dim=0)
    # As many as there are: a vocabulary may be smaller than what is asked for.
    best = shares.topk(min(row.settings.log_probabilities, len(shares)))
    return ChosenToken(
        token, float(shares[token]), tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
    )
