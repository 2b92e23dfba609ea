"""`threadmill survey`."""

from __future__ import annotations

import os
import shutil
import sys

from db.history import History
from db.rows import PayloadRow, SampleRow
from flows.cli.encrypt import print_backends
from flows.cli.findings import print_findings
from flows.cli.options import Json, Via
from flows.cli.via import exit_code_of, run_job
from flows.jobs.parameters import Survey
from flows.jobs.survey import survey_job
from flows.settings import load_settings
from flows.show.table import Cell, table_of
from flows.show.tables import suite_label
from flows.show.terminal import print_json, print_table, say
from flows.text import duration


def survey(*, via: Via = None, json: Json = False) -> int:
    """Run the chapter's examples on this host and interpreter.

    They are of child processes, threads and locks, with the chapter's own numbers. Everything goes on record. --json
    prints the run with its payloads and samples, as history show does.

    Exit codes: 0 done, 1 something failed, 2 refused before any work.

    Example: threadmill survey
    """
    settings = load_settings()
    run_id = run_job("flows.survey:survey", Survey(), survey_job, settings, via, quiet=json).run_id
    history = settings.open_history()
    detail = history.detail(run_id)
    if json:
        print_json(detail)
    elif detail is not None:
        _print_item_52(detail.payloads)
        _print_items_53_and_54(detail.samples)
        _print_what_next(history, run_id)
    return exit_code_of(history, run_id)


def _print_item_52(payloads: tuple[PayloadRow, ...]) -> None:
    print_table(
        table_of(
            "Item 52, child processes: 100 random bytes → encrypt → hash, three times",
            ("suite", "cipher → digest", "backend", "digest's last ten bytes", "#encrypt", "#hash", "#chain"),
            map(_line, payloads),
        )
    )
    print_backends(payloads)


def _line(row: PayloadRow) -> tuple[Cell, ...]:
    tail = repr(row.digest[-10:]) if row.digest else row.error
    # The native backend does both in this process, so only the whole has a time.
    encrypt, hash_ = (duration(stage.wall_ns) for stage in row.stages) if len(row.stages) == 2 else ("–", "–")
    chain = f"{row.cipher} → {row.digest_algorithm}"
    return suite_label(row.suite), chain, row.backend, tail, encrypt, hash_, duration(row.wall_ns)


def _print_items_53_and_54(samples: tuple[SampleRow, ...]) -> None:
    say()
    say("Items 53 and 54, threads and locks: four numbers factorized; five threads, a million updates each")
    print_findings(samples)


def _print_what_next(history: History, run_id: int) -> None:
    me = "threadmill" if shutil.which("threadmill") else os.path.relpath(sys.argv[0])
    say()
    say(f"recorded as run {run_id} in {history.where}")
    say("next:")
    for arguments, why in (
        (f"history show {run_id}", "this run, payload by payload"),
        ("keygen KEY", "a key file: files are encrypted with one"),
        ("encrypt FOLDER --key-file KEY", "fingerprint the ciphertext of every file below a folder"),
        ("check FOLDER --key-file KEY", "are they still what was recorded?"),
    ):
        say(f"  {me} {arguments:32}{why}")
