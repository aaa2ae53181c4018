"""Brazilian Portuguese sentence pairs made of templates (moldes), written for Afina; `moldes_pt.yaml` says their limits."""

from pathlib import Path

from afina.audit.bias.bias_set import bias_set
from afina.audit.bias.pairs import PairSet, SentencePair
from afina.yaml_file import read_yaml

__all__ = ["PortugueseTemplates"]

_FILE = Path(__file__).with_name("moldes_pt.yaml")


@bias_set("moldes_pt")
class PortugueseTemplates(PairSet):
    """Puts every two people into every template; the pairs of one template are one unit, as they say the same thing."""

    checks = ("moldes_pt",)
    packaged = True

    def read(self, path: Path | None) -> tuple[list[SentencePair], list[str]]:
        pairs: list[SentencePair] = []
        for kind, values in read_yaml(path or _FILE).items():
            for place, side in enumerate(("first", "second")):
                for template in values[side]:
                    for people in values["people"]:
                        more, less = people[place], people[1 - place]
                        pairs.append(SentencePair(
                            template.format(quem=more), template.format(quem=less), kind, template, len(pairs) + 1
                        ))  # fmt: skip
        return pairs, []
