"""The report: the same numbers in tables and plots, harmless whatever the record says, and there without plots."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from db.rows import InterpreterRow, PayloadRow, RunRow, SampleRow
from flows.analysis.findings import race_findings, speedup_findings
from flows.analysis.samples import latest_per_interpreter
from flows.show import plots
from flows.show.finding_tables import results_of
from flows.show.page import markdown_of, page_of
from flows.show.plots import Chart
from flows.show.plots.bars import CellState
from flows.show.race_sections import loss_map, race_table
from flows.show.report import TITLE, contents
from flows.show.speedup_sections import (
    executor_map,
    scaling_chart,
    speedup_table,
    time_chart,
    time_table,
)
from flows.show.table import Cell, Plot, Table
from flows.text import visible
from tasks.axes import Experiment, Workload

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
JITTER = (0.98, 1.01, 1.0, 0.99, 1.02, 1.0, 1.01, 0.99)
# Milliseconds of `factorize`: processes help, threads do not; two processes could have had 1.6 times as much done.
FACTORIZE = (("serial", 1, 300), ("thread", 4, 315), ("process-pool", 2, 200))
WAIT = (("serial", 1, 500), ("thread", 5, 102), ("asyncio", 1, 101))
HOSTILE = "</table><script>alert('1')</script>|`x` [a](http://a.example) \x1b[31m \u202e"


def interpreter(label: str) -> InterpreterRow:
    return InterpreterRow(label.ljust(64, "f"), label, label.removesuffix("t"), "cpython", not label.endswith("t"))


def sample(label: str, experiment: str, number: int, wall_ms: float) -> SampleRow:
    """A row of run 1, round `number`; it had the CPU for nine tenths of its time. Its case is put in by others."""
    wall_ns = round(wall_ms * 1e6)
    return SampleRow(
        run_id=1,
        ordinal=number,
        host="bench",
        case=f"{experiment}/1x1",
        experiment=experiment,
        executor=None,
        workload=None,
        shape=None,
        guard=None,
        workers=1,
        count=1,
        workload_version="0" * 64,
        interpreter=interpreter(label),
        round=number,
        started_at=NOON + timedelta(seconds=number),
        outcome="ok",
        expected=None,
        found=None,
        error=None,
        wall_ns=wall_ns,
        cpu_ns=wall_ns * 9 // 10,
        runq_ns=0,
        blocked_ns=wall_ns // 10,
        throttled_ns=0,
        stolen_ns=0,
        context_switches=900,
        gil_on=True,
        foreign_share=0.01,
        positive_lost=None,
        negative_lost=0,
        noisy=False,
        noise=None,
    )


def ceiling(label: str, number: int, workers: int, wall_ms: float) -> SampleRow:
    row = sample(label, "ceiling", number, wall_ms)
    return replace(row, case=f"ceiling/{workers}x2", workers=workers, count=2)


def speedup(label: str, number: int, workload: str, executor: str, workers: int, wall_ms: float) -> SampleRow:
    row = sample(label, "speedup", number, wall_ms)
    case = f"speedup/{workload}/{executor}/{workers}x1"
    return replace(row, case=case, workload=workload, executor=executor, workers=workers)


def race(label: str, number: int, guard: str, wall_ms: float, lost: int = 0) -> SampleRow:
    """Five threads and a million updates each."""
    row = sample(label, "race", number, wall_ms)
    outcome = "ok" if guard != "none" else "lost" if lost else "none-observed"
    row = replace(row, case=f"race/{guard}/augmented/5x1000000", shape="augmented", guard=guard, outcome=outcome)
    return replace(row, workers=5, count=1_000_000, expected=5_000_000, found=5_000_000 - lost)


def measured(label: str, *, lost: int = 0) -> Iterator[SampleRow]:
    """Eight rounds on one interpreter."""
    for number, jitter in enumerate(JITTER):
        yield ceiling(label, number, 1, 100 * jitter)
        yield ceiling(label, number, 2, 125 * jitter)
        for workload, cases in (("factorize", FACTORIZE), ("wait", WAIT)):
            for executor, workers, wall_ms in cases:
                yield speedup(label, number, workload, executor, workers, wall_ms * jitter)
        yield race(label, number, "none", 200 * jitter, lost)
        yield race(label, number, "lock", 900 * jitter)


def skipped(label: str) -> SampleRow:
    row = speedup(label, 0, "factorize", "interpreter-pool", 2, 0)
    return replace(row, outcome="skipped", error="came with Python 3.14")


def rows() -> list[SampleRow]:
    """An old interpreter that loses half of the updates, a new one that loses none, and what neither can do."""
    old = measured("3.9.18", lost=2_500_000)
    return [*old, skipped("3.9.18"), *measured("3.13.0"), skipped("3.13.0")]


def run(run_id: int = 1, flow: str = "experiments", status: str = "completed") -> RunRow:
    return RunRow(
        run_id, flow, None, 1, None, "direct", "bench", "0.1.0", status, None, NOON, None, {}, 2, None, None, {}
    )


def payload(name: str, status: str = "ok", ordinal: int = 0) -> PayloadRow:
    failed = status == "failed"
    return PayloadRow(
        run_id=1,
        ordinal=ordinal,
        name=name,
        name_bytes=None,
        kind="file",
        size_bytes=4_000_000,
        ciphertext_bytes=None if failed else 4_000_016,
        suite="classic",
        cipher="des-ede3-cbc",
        digest_algorithm="whirlpool",
        kdf="evp-bytestokey-sha256",
        iterations=1,
        salt=None,
        digest=None,
        backend="openssl",
        backend_detail="",
        backend_reason="",
        status=status,
        cause="unreadable" if failed else None,
        error="Permission denied" if failed else None,
        started_at=NOON,
        wall_ns=200_000_000,
        stages=(),
    )


def page(samples: Sequence[SampleRow] = (), payloads: Sequence[PayloadRow] = (), runs: Sequence[RunRow] = ()) -> str:
    return page_of(TITLE, contents(runs, payloads, samples, made_at=NOON, where="history.sqlite"))


def lines(table: Table) -> list[dict[str, Cell]]:
    """Rows; a cell by its heading."""
    return [dict(zip((column.heading for column in table.columns), row, strict=True)) for row in table.rows]


def charts(samples: Sequence[SampleRow]) -> list[Chart]:
    sections = contents([], [], samples, made_at=NOON)
    return [block.chart for section in sections for block in section.blocks if isinstance(block, Plot)]


def texts(drawn: str) -> list[str]:
    """What is written in an SVG."""
    return re.findall(r"<(?:text|tspan)[^>]*>([^<]+)<", drawn)


class Balance(HTMLParser):
    """Fails at a tag that closes another than the last one opened; collects all tags."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, _attrs: object) -> None:
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, _attrs: object) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def tags(text: str) -> list[str]:
    parser = Balance()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser.seen


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    """Every tag is closed, plots stand in it, there is no script, and no address but the names of vocabularies."""
    text = page(rows(), [payload("/a"), payload("/b", "failed", 1)], [run()])
    seen = tags(text)
    assert seen.count("svg") == len(charts(rows())) == 7
    assert not {"script", "link", "img", "iframe", "image"} & set(seen)
    assert "://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    assert not re.search(r"@import|url\((?!#)", text)
    assert '<meta name="viewport"' in text
    ids = re.findall(r'<(?:clipPath|pattern) id="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_what_the_record_says_is_text() -> None:
    """A name made of markup, control and direction characters, in every place that takes one, stays what it is."""
    bad = [replace(row, host=HOSTILE, interpreter=replace(row.interpreter, label=HOSTILE)) for row in rows()]
    broken = replace(bad[0], outcome="crashed", error=HOSTILE)
    names = [replace(payload(HOSTILE, "failed"), error=HOSTILE, suite=HOSTILE, backend=HOSTILE)]
    text = page([broken, *bad[1:]], names, [replace(run(flow=HOSTILE, status="failed"), error=HOSTILE)])
    assert "script" not in tags(text)
    assert "<script" not in text
    assert not re.search("[\x1b\u202e]", text)
    assert "&lt;script&gt;" in text
    assert r"\x1b[31m \u202e" in text


def test_markdown_takes_nothing_from_the_record_for_markup() -> None:
    """The same in markdown: names of markup, of an address and of Python come out of a table's cells as they are."""
    names = (HOSTILE, "a|b/__init__.py", "<b>&amp; *x* ~~y~~ ![z](z.png)\\", "www.a.example/``|`")
    text = markdown_of(TITLE, contents([], [payload(name, "failed") for name in names], [], made_at=NOON))
    parsed = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    inline = [part for token in parsed for part in token.children or []]
    assert {part.type for part in inline} == {"text", "code_inline", "strong_open", "strong_close"}
    cells = ["".join(part.content for part in token.children or []) for token in parsed if token.type == "inline"]
    assert {visible(name) for name in names} <= set(cells)
    addresses = [part for part in inline if "a.example" in part.content]
    assert [part.type for part in addresses] == ["code_inline"] * 2


def test_an_empty_record_says_what_to_run() -> None:
    """A page without a single row names the commands that make some."""
    text = page()
    tags(text)
    for command in ("threadmill survey", "threadmill encrypt", "threadmill experiment"):
        assert f"<code>{command}" in text


def test_a_part_without_rows_is_left_out() -> None:
    """Payloads without samples, and samples without payloads, are whole pages too."""
    encrypted, measured = page(payloads=[payload("/a")]), page(rows())
    assert [heading in encrypted for heading in (">Encryption<", ">Experiments<", ">Races:")] == [True, False, False]
    assert [heading in measured for heading in (">Encryption<", ">Speed-up:", ">Races:")] == [False, True, True]


def test_encryption_is_summed_up_by_suite_and_backend() -> None:
    """Two good payloads of 4 MB in 0.2 s each are 20 MB/s; the failed one counts as failed, and is named."""
    text = page(payloads=[payload("/a"), payload("/b", ordinal=1), payload("/c", "failed", 2)])
    row = next(line for line in text.splitlines() if "classic (legacy)" in line)
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
    assert cells[2:] == ["openssl", "3", "2", "1", "0", "0", "4,000,000", "200.00", "20.0"]
    failure = next(line for line in text.splitlines() if ">/c<" in line)
    assert "Permission denied" in failure
    assert "unreadable" in failure


def test_speedups_are_the_same_in_map_curves_and_table() -> None:
    """Each value and interval of the table is what the heat map has written on it and the curve goes through."""
    results = results_of(latest_per_interpreter(rows(), Experiment.SPEEDUP), speedup_findings)
    table = {
        (row["interpreter"], row["executor"], row["workers"]): row
        for row in lines(speedup_table(Workload.FACTORIZE, results))
    }
    chart = executor_map(Workload.FACTORIZE, results)
    assert chart.rows == ("threads", "processes (2)", "sub-interpreters (2)")
    for executor, line in zip((("thread", 4), ("process-pool", 2)), chart.cells, strict=False):
        for label, cell in zip(chart.columns, line, strict=True):
            row = table[label, *executor]
            assert (cell.lines[0], cell.lines[1].replace("–", " to ")) == (row["speed-up"], row["interval"])
    assert [cell.state for cell in chart.cells[2]] == [CellState.SKIPPED] * 2
    row = table["3.13.0", "process-pool", 2]
    assert (row["time"], row["speed-up"], row["possible"]) == ("200 ms", "1.50×", "1.60×")
    assert (row["pairs"], row["verdict"], row["samples"]) == (8, "helps here", "8 ok")
    panel = scaling_chart(results[1]).panels[0]
    ((workers, ratio),) = panel.curves[1].ratios.items()
    assert (f"{ratio.value:.2f}×", workers) == (row["speed-up"], 2)
    assert {"1.50×", "0.95×", "skipped", "3.9.18", "processes (2)"} <= set(texts(plots.svg(plots.figure(chart))))


def test_what_is_skipped_with_any_number_of_workers_is_said_once() -> None:
    """Sub-interpreters that are not there are one row of the map and of the table, not one per pool size."""
    more = replace(skipped("3.13.0"), workers=4)
    results = results_of(latest_per_interpreter([*rows(), more], Experiment.SPEEDUP), speedup_findings)
    assert executor_map(Workload.FACTORIZE, results).rows[2:] == ("sub-interpreters (2)",)
    pools = [row for row in lines(speedup_table(Workload.FACTORIZE, results)) if row["executor"] == "interpreter-pool"]
    assert [(row["workers"], row["verdict"]) for row in pools] == [(2, "skipped: came with Python 3.14")] * 2


def test_only_what_is_sure_has_a_colour() -> None:
    """Processes help, threads lie within 5 % of no difference: the first are coloured, the others stay white."""
    results = results_of(latest_per_interpreter(rows(), Experiment.SPEEDUP), speedup_findings)
    threads, processes, _ = executor_map(Workload.FACTORIZE, results).cells
    assert [cell.sure for cell in (*threads, *processes)] == [False, False, True, True]


def test_losses_are_the_same_in_map_and_table() -> None:
    """Half of the updates lost on 3.9, none observed on 3.13, and what one lock costs: 4.5 times the time."""
    results = results_of(latest_per_interpreter(rows(), Experiment.RACE), race_findings)
    table = {(row["interpreter"], row["guard"]): row for row in lines(race_table(results))}
    lost, none = loss_map(results).cells[0]
    assert (lost.lines, none.lines) == (("50 %", "in 8 of 8"), ("none", "observed", "in 8"))
    assert none.state is CellState.NONE_OBSERVED
    columns = ("trials with loss", "lost", "not excluded")
    assert tuple(table["3.9.18", "none"][one] for one in columns) == ("8 of 8", "50 %", None)
    assert tuple(table["3.13.0", "none"][one] for one in columns) == ("0 of 8", "0 %", "loss in 31 % of trials")
    assert (table["3.13.0", "lock"]["per update"], table["3.13.0", "lock"]["cost"]) == ("180 ns", "4.50×")
    written = " ".join(texts(plots.svg(plots.figure(loss_map(results)))))
    assert "50 %" in written
    assert "observed" in written


def test_times_are_the_same_in_bars_and_table() -> None:
    """Nine tenths of serial's 300 ms on a CPU, one tenth blocked."""
    chart = time_chart(latest_per_interpreter(rows(), Experiment.SPEEDUP)[1])
    serial = next(row for row in time_table(chart).rows if row[:2] == ("factorize", "one after the other"))
    assert serial[2:] == ("270.00", "0.00", "30.00", "90 %", "0 %", "10 %", 8)
    assert "90 %" in texts(plots.svg(plots.figure(chart)))


@pytest.mark.slow
def test_a_plot_has_the_same_bytes_every_time() -> None:
    """Two drawings of the same findings are the same SVG and the same PNG, whatever the user's own settings are."""
    import matplotlib as mpl

    for chart in charts(rows()):
        first = plots.figure(chart)
        drawn = plots.svg(first), plots.png(first)
        with mpl.rc_context({"font.size": 20, "svg.fonttype": "path", "axes.facecolor": "red"}):
            second = plots.figure(chart)
            assert (plots.svg(second), plots.png(second)) == drawn
        assert drawn[0].startswith("<svg ")
        assert "metadata" not in drawn[0]


@pytest.mark.parametrize("interpreters", [1, 9])
def test_plots_are_drawn_for_one_interpreter_and_for_nine(interpreters: int) -> None:
    """A column for each, and the picture grows with them; nothing is left out where some were not measured."""
    labels = [f"3.{minor}.0" for minor in range(6, 6 + interpreters)]
    found = [row for label in labels for row in measured(label)]
    drawn = [row for row in found if row.interpreter.label == labels[0] or row.workload != "wait"]
    by_title = {chart.title: chart for chart in charts(drawn)}
    waits = by_title["Speed-up of wait against one after the other"]
    written = texts(plots.svg(plots.figure(waits)))
    assert all(label in written for label in labels)
    assert written.count("measured") == 2 * (interpreters - 1)
    width, height = struct.unpack(">II", plots.png(plots.figure(waits))[16:24])
    assert width > height
    assert (width > 900) is (interpreters == 9)


def test_plots_are_drawn_without_a_quiet_pair() -> None:
    """Where everything was noisy, the map says so, and no curve or bar is made up; races count all the same."""
    noisy = [replace(row, noisy=True) for row in rows()]
    results = results_of(latest_per_interpreter(noisy, Experiment.SPEEDUP), speedup_findings)
    cells = executor_map(Workload.FACTORIZE, results).cells
    assert {cell.state for cell in cells[0]} == {CellState.NOTHING}
    titles = [chart.title for chart in charts(noisy)]
    assert not [title for title in titles if title.startswith(("Where", "Speed-up over"))]
    assert "Updates lost without a guard, median over trials" in titles
    tags(page(noisy))


def test_few_pairs_have_no_interval() -> None:
    """Five rounds give a ratio and no interval: it is written so, and the plot is drawn."""
    few = [row for row in rows() if row.round < 5]
    results = results_of(latest_per_interpreter(few, Experiment.SPEEDUP), speedup_findings)
    assert executor_map(Workload.FACTORIZE, results).cells[1][0].lines == ("1.50×", "no interval")
    assert "none: 5 of 6 pairs" in {row["interval"] for row in lines(speedup_table(Workload.FACTORIZE, results))}
    assert plots.png(plots.figure(scaling_chart(results[0]))).startswith(b"\x89PNG")


def test_the_newest_run_of_each_interpreter_is_shown() -> None:
    """Never two runs together, because pairs are of one round of one run."""
    later = [replace(row, run_id=2, started_at=row.started_at + timedelta(days=1)) for row in measured("3.13.0")]
    shown = latest_per_interpreter([*later, *rows()], Experiment.SPEEDUP)
    assert [(one.label, one.run_id, one.rounds) for one in shown] == [("3.9.18", 1, 8), ("3.13.0", 2, 8)]
    assert {sample.experiment for sample in shown[0].samples} == {Experiment.SPEEDUP, Experiment.CEILING}


def test_a_run_with_too_few_rounds_or_of_a_survey_is_shown_last() -> None:
    """A newer run that can have no interval, or has the chapter's cases only, hides no older one, but is one."""
    day = timedelta(days=1)
    short = [replace(row, run_id=2, started_at=row.started_at + day) for row in measured("3.13.0") if row.round < 2]
    survey = [replace(row, run_id=3, started_at=row.started_at + 2 * day) for row in measured("3.13.0")]
    runs = [run(1), run(2), run(3, "survey")]
    full = list(measured("3.13.0"))
    chosen = [
        latest_per_interpreter(some, Experiment.RACE, runs)[0].run_id
        for some in (
            [*full, *short, *survey],
            [*short, *survey],
            survey,
        )
    ]
    assert chosen == [1, 2, 3]


def test_interpreters_that_share_a_label_are_told_apart() -> None:
    """By the host where there are several, by a piece of the fingerprint on the same host."""
    here = list(measured("3.13.0"))
    there = [replace(row, host="other") for row in here]
    rebuilt = [replace(row, interpreter=replace(row.interpreter, fingerprint="abcdef" + "0" * 58)) for row in here]
    two_hosts = latest_per_interpreter([*here, *there], Experiment.RACE)
    two_builds = latest_per_interpreter([*here, *rebuilt], Experiment.RACE)
    assert [one.label for one in two_hosts] == ["3.13.0 on bench", "3.13.0 on other"]
    assert {one.label for one in two_builds} == {"3.13.0 (3.13.0)", "3.13.0 (abcdef)"}


def test_a_case_from_another_version_is_counted_and_left_out() -> None:
    """A workload that this program does not know breaks nothing, and the page says how many there were."""
    strange = replace(next(measured("3.13.0")), experiment="speedup", executor="serial", workload="knitting")
    assert latest_per_interpreter([*rows(), strange], Experiment.SPEEDUP)[1].unknown == 1
    assert "1 sample of cases that this program does not know" in page([*rows(), strange])


def test_the_book_s_update_and_select_are_explained() -> None:
    """What each did on each interpreter, and why; where it was not measured, what to run."""
    selects = [speedup("3.13.0", number, "wait-book", "serial", 1, 0.3) for number in range(6)]
    text = page([*rows(), *(replace(row, found="returned at once") for row in selects)])
    assert "3.9.18, <code>self.count += offset</code> without a lock, 5 threads: loses updates, 50&nbsp;%" in text
    assert "3.13.0, <code>self.count += offset</code> without a lock, 5 threads: none observed in 8 trials" in text
    assert "five times: returns at once, 300 µs for all five" in text
    assert "an accident of the implementation" in text
    assert "--workload wait-book,wait" in page(rows())


def test_failed_samples_are_listed_by_name() -> None:
    """A sample with wrong output has its case, its round and what was found in the list of failures."""
    wrong = replace(
        speedup("3.13.0", 4, "factorize", "serial", 1, 300),
        outcome="wrong-output",
        found="1 101",
        error="factors are wrong",
    )
    line = next(line for line in page([wrong]).splitlines() if "factors are wrong" in line)
    assert re.findall(r">(speedup|factorize|serial|3.13.0|wrong-output)<", line) == [
        "speedup", "factorize", "serial", "3.13.0", "wrong-output",
    ]  # fmt: skip
    assert "1 101" in line


def test_markdown_has_the_same_tables_and_its_plots_inside() -> None:
    """Every table of the page as a markdown table of the same cells, every plot as a PNG data address."""
    sections = contents([run()], [payload("/a")], rows(), made_at=NOON)
    text = markdown_of(TITLE, sections)
    tables = [block for section in sections for block in section.blocks if isinstance(block, Table)]
    assert text.count("\n|") == sum(2 + len(table.rows) for table in tables)
    assert text.count("](data:image/png;base64,iVBOR") == len(charts(rows()))
    assert "| 3.13.0 | process-pool | 2 | 200 ms | 1.50× |" in text
    assert "<svg" not in text


WITHOUT = """
import sys
sys.modules["matplotlib"] = None
from tests.show.test_report import NOON, TITLE, contents, markdown_of, page, rows
sys.stdout.write(page(rows()))
sys.stdout.write(markdown_of(TITLE, contents([], [], rows(), made_at=NOON)))
"""


def run_python(program: str) -> str:
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120).stdout


def test_without_matplotlib_there_are_tables_and_a_word_about_it() -> None:
    """Page and markdown are made all the same, with the numbers and with what to install."""
    html, markdown = run_python(WITHOUT).split("</html>\n")
    assert "svg" not in tags(html + "</html>")
    assert "<code>pip install -e &#x27;.[plots]&#x27;</code>" in html
    assert "1.50×" in html
    assert "`pip install -e '.[plots]'`" in markdown
    assert "data:image" not in markdown


def test_the_report_loads_neither_prefect_nor_matplotlib_before_it_draws() -> None:
    """Its import, and a page with nothing to draw, cost neither of the two."""
    made = "page_of('report', contents([], [], [], made_at=datetime.now(UTC)))"
    start = (
        "import sys; from datetime import UTC, datetime; from flows.show.page import page_of; "
        "from flows.show.report import contents; "
    )
    assert run_python(f"{start}{made}; print([m for m in ('prefect', 'matplotlib') if m in sys.modules])") == "[]\n"
