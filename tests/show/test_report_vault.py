"""The vault in the report: what the record says of it, harmless whatever its names are, and by one run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from db.history import History
from db.rows import NewRun
from db.store import Store
from flows.show.page import markdown_of, page_of
from flows.show.plots.lines import LineChart
from flows.show.record_sections import vault_run_sections, vault_sections
from flows.show.report import TITLE, contents
from flows.show.table import Cell, Plot, Section, Table
from tests.show.test_report import HOSTILE, NOON, tags
from tests.show.test_report_over_time import SINCE, UNTIL
from tests.support.example_record import example
from tests.support.vault_fakes import Snapshot, Vault, Verdict, name_of, verdict_rows


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """Two months, at the end of which there is a vault with four snapshots, verified twice."""
    opened = History(f"sqlite:///{example(tmp_path_factory)}")
    yield opened
    opened.close()


def of(history: History) -> tuple[Section, ...]:
    return tuple(vault_sections(history, history.runs(limit=None), SINCE, UNTIL, made_at=UNTIL))


def tables(sections: Sequence[Section]) -> dict[str, list[dict[str, Cell]]]:
    """Rows by title; a cell by its column."""
    found = [block for section in sections for block in section.blocks if isinstance(block, Table)]
    return {
        table.title: [dict(zip((column.heading for column in table.columns), row, strict=True)) for row in table.rows]
        for table in found
    }


def test_each_vault_has_its_newest_snapshot_and_its_proofs(history: History) -> None:
    """The newest with its counts, what the last verification found, the oldest proof and how long ago it was."""
    shown = tables(of(history))
    (newest,) = shown["Newest snapshots"]
    assert (newest["vault"], newest["number"]) == ("/srv/vault", 4)
    assert newest["taken"] == datetime(2026, 10, 31, 3, tzinfo=UTC)
    assert (newest["files"], newest["new"], newest["unchanged"], newest["stored"]) == (6, 2, 4, "347 KiB")
    (proofs,) = shown["Proofs"]
    last = next(run for run in history.runs(limit=None) if run.flow == "verify_vault")
    assert (proofs["run"], proofs["proven"], proofs["faults"]) == (str(last.id), 1, 2)
    assert (proofs["packs"], proofs["large objects"], proofs["never proven"]) == (3, 4, 3)
    assert (proofs["oldest proof"], proofs["days ago"]) == (datetime(2026, 10, 29, 5, tzinfo=UTC), 2)


def test_snapshots_of_the_time_are_drawn_and_listed(history: History) -> None:
    """Files that were new and bytes that were added, a point a snapshot; the table has the newest first."""
    sections = of(history)
    (chart,) = (block.chart for block in sections[0].blocks if isinstance(block, Plot))
    assert isinstance(chart, LineChart)
    (line,) = chart.panels[0].lines
    assert [moment.value for moment in line.moments] == [6, 1, 0, 2]
    assert [row["number"] for row in tables(sections)["Snapshots of /srv/vault: 4"]] == [4, 3, 2, 1]


def test_faults_are_listed_with_their_runs(history: History) -> None:
    """The pack that was changed, and the object in it that is lost, by its path and its name."""
    ((fault, pack),) = (rows for title, rows in tables(of(history)).items() if title.startswith("Faults of vaults: 2"))
    assert (pack["what"], pack["status"]) == ("pack", "changed")
    assert (fault["what"], fault["status"], fault["path"]) == ("object", "changed", "/srv/documents/ledger.csv")
    run = history.run(int(str(fault["run"])))
    assert run is not None
    assert (run.flow, run.status) == ("verify_vault", "failed")


def test_without_a_vault_there_is_no_section(history: History, tmp_path: Path) -> None:
    """A record that never saw one, and a run that has to do with none."""
    assert of(History(f"sqlite:///{tmp_path / 'none.sqlite'}")) == ()
    first = history.runs(limit=None)[-1]
    assert tuple(vault_run_sections(history, first.id)) == ()


def test_proofs_are_added_up_as_they_are_listed(history: History) -> None:
    """The totals are those of the list of all objects; of a vault that nobody knows there are none."""
    (vault,) = history.vaults()
    rows = history.proofs(vault_id=vault.vault_id, limit=None)
    totals = history.proof_totals(vault.vault_id)
    proven = [row.proven_at for row in rows if row.proven_at]
    assert (totals.packs + totals.objects, totals.never, totals.oldest_proof) == (
        len(rows),
        len(rows) - len(proven),
        min(proven),
    )
    assert history.proof_totals("0" * 32).objects == 0


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[tuple[History, int]]:
    """A vault, a snapshot and a fault with names of markup, and the run that has all of it."""
    url = f"sqlite:///{tmp_path / 'history.sqlite'}"
    store = Store(url)
    run_id = store.start_run(NewRun("verify_vault", "direct", {}, "0"))
    snapshot = replace(Snapshot(1), vault_path=HOSTILE, sources=(HOSTILE.encode(),))
    store.record_snapshot(snapshot.row(run_id))
    verdict = replace(Verdict(name_of(1), "changed"), path=HOSTILE.encode(), error=HOSTILE)
    store.record_verdicts(verdict_rows(run_id, [verdict], vault=Vault(path=HOSTILE)))
    store.finish_run(run_id, "failed", HOSTILE)
    store.close()
    history = History(url)
    yield history, run_id
    history.close()


def test_what_the_record_says_of_a_vault_is_text(hostile: tuple[History, int]) -> None:
    """On the page, in the markdown, over a time and of one run: no markup comes of it."""
    history, run_id = hostile
    sections = (
        *vault_sections(history, history.runs(), None, None, made_at=NOON),
        *vault_run_sections(history, run_id),
    )
    page = page_of(TITLE, sections)
    assert "script" not in tags(page)
    assert "<script" not in page
    text = markdown_of(TITLE, contents(history.runs(), [], [], made_at=NOON, more=sections))
    parsed = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    inline = {part.type for token in parsed for part in token.children or []}
    assert inline == {"text", "code_inline", "strong_open", "strong_close"}
    assert text.count("## Vault") == 2
