"""CrowS-Pairs: sentence pairs on nine kinds of bias in the United States.  Nangia et al., 2020, arXiv:2010.00133.

The file is the authors' `crows_pairs_anonymized.csv` (sent_more, sent_less, bias_type), or has columns more, less, kind.
Blodgett et al. (2021) found that many of its pairs are ill-formed; a share far from 50% is a hint, not a measure of harm.
"""

from pathlib import Path

from afina.audit.bias.bias_set import bias_set, rows_of_file
from afina.audit.bias.pairs import PairSet, SentencePair
from afina.errors import UsageError

__all__ = ["CrowsPairs"]

_COLUMNS = {"more": ("more", "sent_more"), "less": ("less", "sent_less"), "kind": ("kind", "bias_type")}


@bias_set("crows_pairs")
class CrowsPairs(PairSet):
    """Reads each row as a pair that stands for itself; rows that say the same are one unit."""

    checks = ("crows_pairs",)

    def read(self, path: Path | None) -> tuple[list[SentencePair], list[str]]:
        assert path is not None, "its file is asked for before"
        rows = rows_of_file(path, _COLUMNS)
        pairs = [
            SentencePair(more, less, str(row["kind"] or "none"), f"{more} / {less}".casefold(), number)
            for number, row in enumerate(rows, start=1)
            if (more := str(row["more"] or "").strip()) and (less := str(row["less"] or "").strip())
        ]  # fmt: skip
        if not pairs:
            raise UsageError(f"{path} has no row with two sentences in the columns more and less.")
        left = len(rows) - len(pairs)
        return pairs, [f"{left:,} rows of {path.name} lack a sentence and are left out."] if left else []
