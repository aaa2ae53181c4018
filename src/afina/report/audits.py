"""Show what audits found beside accuracy and cost: base beside adapter, method beside method, tested and corrected."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from afina.report.tables import Table
from afina.results.findings.against_base import BASE, worse_findings
from afina.results.findings.audited import FOLDER
from afina.results.findings.finding import Finding
from afina.results.findings.page import page
from afina.results.findings.tables import shown
from afina.results.material import Group, Material
from afina.results.shown import with_interval
from afina.results.statistics import LEVEL, Cell, holm
from afina.whole_file import write_text
from afina.words.language import Words

__all__ = ["audit_remarks", "audit_tables", "audits_table", "links_to_pages", "write_audit_pages"]


def audits_table(group: Group, words: Words) -> Table | None:
    """Return one row a method: its metric and cost, and of each audit how much it found; None where none was made."""
    if not any(group.audits.values()):
        return None
    metric = group.metric
    heads = [
        (words("{audit}: found", audit=name), words("{audit}: worse than base", audit=name)) for name in group.audits
    ]
    columns = [
        words("method"), f"{words(metric)}, {words('test')}", f"{words('peak memory')} (MB)", f"{words('train time')} (s)",
        *(head for pair in heads for head in pair),
    ]  # fmt: skip
    rows = []
    for cell in group.cells:
        cost = (cell.memory_bytes, 1e-6), (cell.seconds, 1.0)
        costs = [words.compact(None if own is None else scale * own.mean) for own, scale in cost]
        counts = [count for name in group.audits for count in _counts(group, name, cell, words)]
        rows.append([cell.method, with_interval(cell.test, metric, words), *costs, *counts])
    note = words(
        "Of an audit's tests, those that chance does not explain (Holm over all tests of an adapter), and those where it is "
        "worse than its base by more than chance."
    )
    return Table(f"audits-{group.slug}", f"{words('Audits')}: {group.title}", columns, rows, note)


def _counts(group: Group, audit: str, cell: Cell, words: Words) -> tuple[str, str]:
    """Return of a method how many tests of an audit found something, and how many are worse than the base."""
    runs = [group.audits[audit].get(run.run, ()) for run in cell.runs]
    every = [each for findings in runs for each in findings]
    tested = [each for each in every if each.is_tested]
    if not tested:
        return "—", "—"
    count, of = words.number(sum(each.found for each in tested)), words.number(len(tested))
    tests_found = words("{count} of {of}", count=count, of=of)
    # What has no base beside it is tested, and is not compared; what is only told is compared, and not tested.
    compared = sum(any(beside.name == BASE for beside in each.beside) for each in every)
    if not compared:
        return tests_found, "—"
    worse = words.number(sum(len(worse_findings(findings)) for findings in runs))
    return tests_found, words("{count} of {of}", count=worse, of=words.number(compared))


def audit_tables(group: Group, words: Words, *, all_differences: bool = True) -> list[Table]:
    """Return two tables for each audit: what it measured of base and methods, and which of them differ.

    Without `all_differences` the second has those alone that chance does not explain.
    """
    tables = []
    for name, runs in group.audits.items():
        if any(runs.values()):
            tables += [_values(group, name, words), _differences(group, name, words, every=all_differences)]
    return tables


def _values(group: Group, audit: str, words: Words) -> Table:
    """Return one row a test: the base's figure, and beside it each method's, marked where chance does not explain it."""
    cells = [cell for cell in group.cells if any(group.audits[audit].get(run.run) for run in cell.runs)]
    by_test: dict[tuple[str, str], dict[str, list[Finding]]] = {}
    for cell in cells:
        for run in cell.runs:
            for each in group.audits[audit].get(run.run, ()):
                test = each.measured.told(words), each.on.told(words)
                by_test.setdefault(test, {}).setdefault(cell.method, []).append(each)
    rows: list[list[str]] = []
    strong: set[tuple[int, int]] = set()
    for test, methods in by_test.items():
        base = next((each.base for own in methods.values() for each in own if each.base is not None), None)
        row = [*test, shown(base, words)]
        for cell in cells:
            of_method = methods.get(cell.method, [])
            if any(each.found for each in of_method):
                strong.add((len(rows), len(row)))
            row.append(_over_seeds(of_method, words))
        rows.append(row)
    columns = [words("measured"), words("on"), words("base"), *(cell.method for cell in cells)]
    note = words(
        "* marks what chance does not explain. A value is larger the worse it is; of several seeds it is the mean."
    )
    title = f"{words('Audit')} {audit}: {group.title}"
    return Table(f"audit-{audit}-{group.slug}", title, columns, rows, note, frozenset(strong), words=2)


def _over_seeds(findings: Sequence[Finding], words: Words) -> str:
    """Return a test's figure of one method: with its interval of one seed, the mean of several."""
    values = [each.value for each in findings if each.value is not None]
    if not values:
        return "–"
    times = sum(each.found for each in findings)
    if len(values) == 1:
        return f"{shown(values[0], words)}{' *' if times else ''}"
    mean = words.number(sum(each.value for each in values) / len(values), 3)
    return f"{mean} * ({words('{count} of {of}', count=times, of=len(values))})" if times else mean


def _differences(group: Group, audit: str, words: Words, *, every: bool) -> Table:
    """Return one row a test and pair: method minus base, or minus another method of the same seed, on the same rows."""
    methods = {run.run: cell.method for cell in group.cells for run in cell.runs}
    seeds = {run.run: run.seed for cell in group.cells for run in cell.runs}
    order = list(methods)
    pairs = [
        (run, beside, each) for run in order for each in group.audits[audit].get(run, ()) for beside in each.beside
        # Of two methods once, as the table would say everything twice.
        if beside.name == BASE or (beside.name in methods and order.index(beside.name) > order.index(run))
    ]  # fmt: skip
    p_values = holm([1.0 if beside.p_value is None else beside.p_value for _, beside, _ in pairs])
    rows = []
    for (run, beside, each), p in sorted(zip(pairs, p_values, strict=True), key=lambda pair: pair[1]):
        if p >= LEVEL and not every:
            continue
        verdict = words("tie") if p >= LEVEL else words("worse" if beside.difference.value > 0 else "better")
        rows.append([
            methods[run], methods.get(beside.name, words(beside.name)), each.measured.told(words), each.on.told(words),
            str(seeds[run]), shown(beside.difference, words),
            words.p_value(p), verdict,
        ])  # fmt: skip
    columns = [words(c) for c in ("first", "second", "measured", "on", "seed", "difference", "p (Holm)", "verdict")]
    note = words(
        "First minus second on the same rows, corrected for all {count} differences of this table together; the gap of the "
        "groups and class that are furthest apart in the first.",
        count=words.number(len(pairs)),
    )  # fmt: skip
    if not every and not rows:
        note = words("None of the {count} differences is more than chance explains.", count=words.number(len(pairs)))
    title = f"{words('Audit')} {audit}, {words('differences')}: {group.title}"
    return Table(f"audit-differences-{audit}-{group.slug}", title, columns, rows, note, words=4)


def audit_remarks(material: Material, words: Words) -> list[str]:
    """Return what audits assumed or could not do, what they do not show, and which the study names and has not made."""
    remarks = [
        f"{name}: {remark}" for name, audited in material.audits.items()
        for remark in (*audited.remarks(words), *audited.claims(words))
    ]  # fmt: skip
    named = [
        next(iter(each)) if isinstance(each, dict) else str(each)
        for each in material.settings.study.get("audits") or ()
    ]
    return remarks + [
        words("The audit {audit} has not been made yet; run the study again.", audit=name)
        for name in named if name not in material.audits
    ]  # fmt: skip


def write_audit_pages(material: Material, language: str) -> list[Path]:
    """Write the page of each audit in a study's folder, and return where they are."""
    paths = []
    for name, audited in material.audits.items():
        if audited.findings:
            paths.append(material.directory / FOLDER / f"{name}.html")
            write_text(paths[-1], page(audited, language))
    return paths


def links_to_pages(material: Material, words: Words) -> str:
    """Return links to the audits' own pages, which stand beside the report."""
    links = [
        f'<a href="{FOLDER}/{escape(name, quote=True)}.html">'
        f"{escape(words('{audit}: every finding, with the rows behind it', audit=name))}</a>"
        for name, audited in material.audits.items() if audited.findings
    ]  # fmt: skip
    return f"<p>{' · '.join(links)}</p>" if links else ""
