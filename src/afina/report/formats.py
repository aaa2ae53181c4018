"""Write neutral tables as Markdown, CSV and LaTeX (booktabs)."""

import csv
import io

from afina.data.files.spreadsheet import guarded
from afina.errors import printable
from afina.report.tables import Table

__all__ = ["FORMATS", "csv_table", "latex_table", "markdown_table"]

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "—": "---", "²": "$^2$", "·": r"$\cdot$", "<": "$<$", ">": "$>$",
}  # fmt: skip


def markdown_table(table: Table) -> str:
    """Return a GitHub-flavoured Markdown table under its title."""

    def plain(text: str) -> str:
        # Labels and names come from data: they are text here, no tags and no links of a page.
        text = printable(text).replace("\\", "\\\\").replace("\n", " ").replace("](", "]\\(")
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("`", "\\`")

    def cell(text: str) -> str:
        return plain(text).replace("|", "\\|")

    lines = [f"### {plain(table.title)}", ""]
    lines.append("| " + " | ".join(cell(column) for column in table.columns) + " |")
    lines.append("|" + "|".join("---" if i < table.words else "--:" for i in range(len(table.columns))) + "|")
    # Words to the left, figures to the right, so that their digits stand under one another.
    for row, values in enumerate(table.rows):
        shown = [f"**{cell(v)}**" if (row, column) in table.strong else cell(v) for column, v in enumerate(values)]
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join([*lines, *(["", plain(table.note)] if table.note else [])]) + "\n"


def csv_table(table: Table) -> str:
    """Return RFC 4180 text with a header line."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(table.columns)
    # A spreadsheet would carry out a cell that begins as a formula does.
    writer.writerows([[guarded(v) for v in row] for row in table.rows])
    return buffer.getvalue()


def latex_table(table: Table) -> str:
    """Return a booktabs table environment."""

    def cell(text: str) -> str:
        text = printable(text)
        # Letter by letter: replacements one after another would replace what the first ones wrote.
        return "".join(_LATEX.get(c, c) for c in text)

    aligned = "l" * table.words + "r" * (len(table.columns) - table.words)
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{cell(table.title)}}}",
        rf"  \begin{{tabular}}{{{aligned}}}",
    ]
    lines += [r"    \toprule", "    " + " & ".join(cell(c) for c in table.columns) + r" \\", r"    \midrule"]
    for row, values in enumerate(table.rows):
        shown = [
            rf"\textbf{{{cell(v)}}}" if (row, column) in table.strong else cell(v) for column, v in enumerate(values)
        ]
        lines.append("    " + " & ".join(shown) + r" \\")
    lines += [r"    \bottomrule", r"  \end{tabular}"]
    if table.note:
        lines.append(rf"  \\[2pt]\footnotesize {cell(table.note)}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


FORMATS = {"md": markdown_table, "csv": csv_table, "tex": latex_table}
