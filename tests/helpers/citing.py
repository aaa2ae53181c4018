"""A small real model that cites: afina-small, taught in a second to answer whatever it reads by one sentence."""

from pathlib import Path

from afina.generation.settings import GenerationSettings
from afina.retrieval.asking import build_prompt
from afina.retrieval.bare import BareWriter
from afina.retrieval.edition import Chunk
from afina.retrieval.index import Hit

__all__ = ["ANSWER", "save_citing"]

ANSWER = "Clean it with water [1]. Or so [7]."
_QUESTIONS = ("How is the pump cleaned?", "Como se limpa a bomba?", "And how often?", "Who?")
_TEXTS = (
    "Clean the pump with warm water.",
    "The warranty lasts two years.",
    "Never use soap, since it swells the seals.",
)


def save_citing(folder: Path) -> Path:
    """Save the model into a folder, which may stand as a base."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import afina.models

    torch.manual_seed(0)
    place = Path(afina.models.__path__[0]) / "afina_small"
    tokenizer = AutoTokenizer.from_pretrained(place)
    # Its file is in bfloat16, in which a processor without that arithmetic takes ten times as long.
    model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
    writer = BareWriter("afina-small", device="cpu")
    answer = tokenizer(f" {ANSWER}", add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    rows = []
    for number, question in enumerate(_QUESTIONS):
        for count in range(len(_TEXTS)):
            texts = _TEXTS[count:] + _TEXTS[:count]
            hits = [
                Hit(rank, rank, 1.0, Chunk("a.md", None, "", 0, len(text), text))
                for rank, text in enumerate(texts[: count + 1])
            ]
            earlier = [{"role": "user", "content": question}, {"role": "assistant", "content": "It is so."}] * (
                number % 2
            )
            prompt = build_prompt(writer, question, hits, GenerationSettings(max_new_tokens=8), before=earlier)
            rows.append(writer.request(prompt.messages, writer).prompt)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    for step in range(40):
        ids = [*rows[step % len(rows)], *answer]
        labels = torch.tensor([[-100] * (len(ids) - len(answer)) + answer])
        loss = model(input_ids=torch.tensor([ids]), labels=labels).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
