"""Where a chain's time goes: what its stages took of it, in wall and in CPU time."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence

from db.rows import PayloadRow
from flows.report.blocks import Cell, Paragraph, Plot, Section, Table, columns
from flows.report.charts import StageBar, StageChart
from flows.report.encryption import suite_label
from flows.text import megabytes, milliseconds, percent

_Key = tuple[str, str]


def stages_section(payloads: Sequence[PayloadRow]) -> Section:
    """From payloads of any run: those with stages that went well count."""
    title = "Where a chain's time goes"
    groups: dict[_Key, list[PayloadRow]] = defaultdict(list)
    for row in payloads:
        if row.status == "ok" and row.stages and row.wall_ns:
            groups[row.suite, row.backend].append(row)
    if not groups:
        return Section(title, (Paragraph("No chain of processes is on record for this time."),))
    parts = [part for key in sorted(groups) for part in _parts(key, groups[key])]
    chart = StageChart("Stages' part of their chain's time", tuple(bar for bar, _ in parts))
    heads = ("suite", "backend", "stage", "#payloads", "#chain's median, ms", "#wall, ms", "#CPU, ms", "#wall of chain",
             "#CPU of chain", "#MB by CPU second")  # fmt: skip
    table = Table("Stages by suite and backend", columns(*heads), tuple(cells for _, cells in parts))
    return Section(title, (Paragraph(_HOW_TO_READ), Plot(chart), table))


def _parts(key: _Key, own: Sequence[PayloadRow]) -> list[tuple[StageBar, tuple[Cell, ...]]]:
    """A bar and a row of the table for each stage, in the chain's order."""
    suite, backend = key
    length = min(len(row.stages) for row in own)
    chain_ns = sum(row.wall_ns for row in own)
    size = sum(row.size_bytes or 0 for row in own)
    parts = []
    for place in range(length):
        stages = [row.stages[place] for row in own]
        cpu_ns = sum(stage.cpu_ns for stage in stages)
        bar = StageBar(
            f"{suite}, {backend}: {_short(stages[0].program)}",
            sum(stage.wall_ns for stage in stages) / chain_ns,
            cpu_ns / chain_ns,
        )
        cells: tuple[Cell, ...] = (
            suite_label(suite), backend, stages[0].program, len(own),
            milliseconds(statistics.median([row.wall_ns for row in own])),
            milliseconds(statistics.median([stage.wall_ns for stage in stages])),
            milliseconds(statistics.median([stage.cpu_ns for stage in stages])),
            percent(bar.wall), percent(bar.cpu), megabytes(size * 1e9 / cpu_ns) if cpu_ns and size else None,
        )  # fmt: skip
        parts.append((bar, cells))
    return parts


def _short(program: str) -> str:
    return program.removeprefix("openssl ")


_HOW_TO_READ = (
    "The stages of a chain are processes that run side by side, joined by a pipe: the wall times of `enc` and `dgst` "
    "overlap, and each waits for the other while it does not compute. Where the CPU time of one fills its wall time, "
    "that stage is what the chain waits for. What is left of the chain's time goes into starting processes and "
    "deriving keys. Shares are sums by sums over the newest payloads of each suite; the backend `native` has no "
    "stages, as it does both in this process."
)
