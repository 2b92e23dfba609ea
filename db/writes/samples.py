"""Samples, and the cases and interpreters that they are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, insert, select

from db.facts import CaseFacts, InterpreterFacts, SampleFacts
from db.models import Case, Interpreter, Sample
from db.names import storable
from db.writes.ordinals import recorded


def add_samples(
    connection: Connection,
    run_id: int,
    first_ordinal: int,
    samples: Sequence[SampleFacts],
    interpreters: Mapping[str, InterpreterFacts],
) -> int:
    """Those that the run has not yet; how many."""
    known = recorded(connection, Sample, run_id, first_ordinal, first_ordinal + len(samples) - 1)
    new = [(n, sample) for n, sample in enumerate(samples, first_ordinal) if n not in known]
    if not new:
        return 0
    keys = [(sample.case.key, sample.workload_version) for _, sample in new]
    cases = {key: sample.case for key, (_, sample) in zip(keys, new, strict=True)}
    case_ids = {key: _case_id(connection, case, key[1]) for key, case in cases.items()}
    names = {sample.interpreter for _, sample in new}
    interpreter_ids = {name: _interpreter_id(connection, interpreters[name]) for name in names}
    rows = [
        _sample_row(run_id, ordinal, case_ids[key], interpreter_ids[sample.interpreter], sample)
        for key, (ordinal, sample) in zip(keys, new, strict=True)
    ]
    connection.execute(insert(Sample), rows)
    return len(rows)


def _sample_row(run_id: int, ordinal: int, case_id: int, interpreter_id: int, sample: SampleFacts) -> dict[str, object]:
    # Written out: of all that is done for a row, getattr by name took the most time.
    return {
        "run_id": run_id,
        "ordinal": ordinal,
        "case_id": case_id,
        "interpreter_id": interpreter_id,
        "round": sample.round,
        "started_at": sample.started_at,
        "outcome": sample.outcome,
        "expected": storable(sample.expected),
        "found": storable(sample.found),
        "error": storable(sample.error),
        "wall_ns": sample.wall_ns,
        "cpu_ns": sample.cpu_ns,
        "runq_ns": sample.runq_ns,
        "blocked_ns": sample.blocked_ns,
        "context_switches": sample.context_switches,
        "gil_on": sample.gil_on,
        "foreign_share": sample.foreign_share,
        "positive_lost": sample.positive_lost,
        "negative_lost": sample.negative_lost,
        "noisy": sample.noisy,
    }


def _case_id(connection: Connection, case: CaseFacts, workload_version: str) -> int:
    same = select(Case.id).where(Case.key == case.key, Case.workload_version == workload_version)
    found = connection.execute(same).scalar()
    if found is not None:
        return found
    axes = ("key", "experiment", "executor", "workload", "shape", "guard", "workers", "count")
    row = {"workload_version": workload_version} | {name: getattr(case, name) for name in axes}
    return connection.execute(insert(Case).returning(Case.id), row).scalar_one()


def _interpreter_id(connection: Connection, one: InterpreterFacts) -> int:
    found = connection.execute(select(Interpreter.id).where(Interpreter.fingerprint == one.fingerprint)).scalar()
    if found is not None:
        return found
    row = {
        "fingerprint": one.fingerprint,
        "label": one.label,
        "version": one.version,
        "implementation": one.implementation,
        "gil_build": one.gil_build,
        "facts": dict(one.facts),
    }
    return connection.execute(insert(Interpreter).returning(Interpreter.id), row).scalar_one()
