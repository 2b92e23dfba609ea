"""Summaries per run and per day: they are fast to read where raw rows are many, and stay when raw rows are removed.

Quartiles are computed here and not in SQL, so that they are the same on every database.
"""

from __future__ import annotations

import heapq
import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, insert, select

from db.engine import in_portions, streamed
from db.host import HostLimits
from db.rows import count_or_text
from db.tables import CASE, DAY_SUMMARY, ENCRYPTION, HOST, INTERPRETER, RUN, SAMPLE, SERIES, SUMMARY
from db.tables.base import columns
from db.words import MOST_BYTES, PAYLOAD_FAILURES, SAMPLE_FAILURES, TIMED_OUTCOMES, UNLOCKED_OUTCOMES

_SORTED_AT_ONCE = 50_000


@dataclass(slots=True)
class _Tally:
    """The rows of one series, added up one by one."""

    series: dict[str, object]
    covariates: dict[str, object]
    walls: array[float] = field(default_factory=lambda: array("d"))
    shares: array[float] = field(default_factory=lambda: array("d"))
    failed: int = 0
    noisy: int = 0
    size_bytes: int | None = None
    run_ids: set[int] = field(default_factory=set)


def summarise_run(connection: Connection, run_id: int) -> None:
    """Write the summaries of a closed run, in place of those that it has. The caller holds a write transaction.

    A day that was summed up before its end, by a clock that was ahead, is summed up again, unless a run of it was
    removed.
    """
    run = connection.execute(select(RUN.c.started_at).where(RUN.c.id == run_id)).one()
    connection.execute(delete(SUMMARY).where(SUMMARY.c.run_id == run_id))
    rows = [
        {"series": one.series, "run_id": run_id, "started_at": run.started_at} | _figures(one) | _of_one_run(one)
        for one in _tallies(connection, (run_id,)).values()
    ]
    _write(connection, SUMMARY, rows)
    begin, end = _span(run.started_at.date())
    of_day = SUMMARY.c.started_at >= begin, SUMMARY.c.started_at < end
    removed = select(SUMMARY.c.id).where(*of_day, SUMMARY.c.run_id.not_in(select(RUN.c.id)))
    connection.execute(delete(DAY_SUMMARY).where(DAY_SUMMARY.c.day == begin.date(), ~removed.exists()))


def roll_up_closed_days(connection: Connection, today: date) -> int:
    """Sum up the days before `today` (UTC) that are not summed up yet and on which no open run began; their number.

    A row counts on the day on which its run began.
    """
    rolled = set(connection.execute(select(DAY_SUMMARY.c.day).distinct()).scalars())
    began = connection.execute(select(RUN.c.status == "running", RUN.c.started_at)).all()
    end = min([today, *(begin.date() for is_open, begin in began if is_open)])
    days = sorted({begin.date() for _, begin in began if begin.date() < end} - rolled)
    return sum(_write(connection, DAY_SUMMARY, day_rows(connection, day)) for day in days)


def day_rows(connection: Connection, day: date) -> list[dict[str, Any]]:
    """Add up the rows of a day's closed runs, by series; nothing is written."""
    begin, end = _span(day)
    query = select(RUN.c.id).where(RUN.c.started_at >= begin, RUN.c.started_at < end)
    tallies = _tallies(connection, connection.execute(query.where(RUN.c.status != "running")).scalars().all())
    return [
        {"series": one.series, "day": day, "runs": len(one.run_ids)} | _figures(one)
        for one in tallies.values()
        if one.walls or one.failed or one.noisy
    ]


def _span(day: date) -> tuple[datetime, datetime]:
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return begin, begin + timedelta(days=1)


def _write(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> bool:
    """Write summaries, each of which has its whole `series`; whether there were any."""
    ids = _series_ids(connection, [row["series"] for row in rows])
    for row in rows:
        row["series_id"] = ids[row.pop("series")["key"]]
    if rows:
        connection.execute(insert(table), rows)
    return bool(rows)


def _tallies(connection: Connection, run_ids: Iterable[int]) -> dict[str, _Tally]:
    """All rows of the runs, by the key of their series."""
    tallies: dict[str, _Tally] = {}
    for run_id in run_ids:
        run = connection.execute(_RUNS.where(RUN.c.id == run_id)).one()
        keeps = connection.execute(_KEPT.where(ENCRYPTION.c.run_id == run_id).limit(1)).first() is not None
        # Looked up by columns: to build the key for every row would take longer than all the rest.
        of_series: dict[tuple[object, ...], _Tally] = {}
        for row in streamed(connection, _PAYLOADS.where(ENCRYPTION.c.run_id == run_id)):
            own = row.suite, row.backend, size_class_of(row.size_bytes)
            if own not in of_series:
                of_series[own] = _payload_tally(tallies, run, row, kept=keeps)
            _add_payload(of_series[own], row)
        for row in streamed(connection, _SAMPLES.where(SAMPLE.c.run_id == run_id)):
            numbers = row.case_id, row.interpreter_id
            if numbers not in of_series:
                of_series[numbers] = _sample_tally(tallies, run, row)
            _add_sample(of_series[numbers], row)
    return tallies


def size_class_of(size_bytes: int | None) -> int:
    """The power of two that a payload's size is below."""
    return 1 << min(62, (size_bytes or 0).bit_length())


def _payload_tally(tallies: dict[str, _Tally], run: Row[Any], row: Row[Any], *, kept: bool) -> _Tally:
    """The tally of a payload's series; one that failed is in no vault, but counts in the series of the good ones."""
    same = {"suite": row.suite, "backend": row.backend, "size_class": size_class_of(row.size_bytes)}
    key = [*same.values(), "kept" if kept else "discarded"]
    track = ["encryption", *key]
    series = same | {"kind": "encryption", "kept": kept}
    return _tally(tallies, run, key, track, series, {"backend": row.backend_detail})


def _sample_tally(tallies: dict[str, _Tally], run: Row[Any], row: Row[Any]) -> _Tally:
    minor = ".".join(row.version.split(".")[:2])
    key = [row.key, row.workload_version, row.interpreter]
    track = ["sample", row.key, row.label.replace(row.version, minor)]
    series = {"kind": "sample", "case_id": row.case_id, "interpreter_id": row.interpreter_id}
    return _tally(tallies, run, key, track, series, {"interpreter": row.label, "workload": row.workload_version[:12]})


def _tally(
    tallies: dict[str, _Tally],
    run: Row[Any],
    key: Sequence[object],
    track: Sequence[object],
    series: Mapping[str, object],
    covariates: Mapping[str, object],
) -> _Tally:
    limits = asdict(HostLimits(run.usable_cpus, run.quota_cpus, run.smt))
    name = json.dumps([*key, run.fingerprint, *limits.values()])
    if name not in tallies:
        own = {"key": name, "track": json.dumps([*track, *limits.values(), run.name]), "host_id": run.host_id}
        tallies[name] = _Tally({**own, **limits, **series}, {**_causes(run), **covariates})
    tallies[name].run_ids.add(run.id)
    return tallies[name]


def _causes(run: Row[Any]) -> dict[str, object]:
    """Possible causes of a step in any series of a run, as they are told to people."""
    found = run.covariates
    causes: dict[str, object] = {"code": run.code_version, "host": run.fingerprint[:12]}
    causes["limits"] = str(HostLimits(run.usable_cpus, run.quota_cpus, run.smt))
    causes |= {name: found.get(name) for name in ("kernel", "cpus", "governor", "virtualisation", "container")}
    causes["frequency"] = found.get("frequency_mhz")
    if "memory_limit_bytes" in found:
        limit = found["memory_limit_bytes"]
        causes["memory"] = "none" if limit is None else f"{limit / 2**20:,.0f} MiB"
    for name in ("stolen", "throttled"):
        # To the whole percent, so that two quiet runs are equal.
        share = found.get(f"{name}_share")
        causes[name] = None if share is None else f"{100 * share:.0f} %"
    return causes


def _add_payload(tally: _Tally, row: Row[Any]) -> None:
    tally.failed += row.status in PAYLOAD_FAILURES
    if row.status == "ok":
        tally.walls.append(row.wall_ns)
        tally.size_bytes = min(MOST_BYTES, (tally.size_bytes or 0) + (row.size_bytes or 0))


def _add_sample(tally: _Tally, row: Row[Any]) -> None:
    tally.failed += row.outcome in SAMPLE_FAILURES
    if row.outcome in TIMED_OUTCOMES:
        tally.noisy += row.noisy
        if not row.noisy and row.wall_ns:
            tally.walls.append(row.wall_ns)
    if row.guard == "none" and row.outcome in UNLOCKED_OUTCOMES:
        found, expected = count_or_text(row.found), count_or_text(row.expected)
        if isinstance(found, int) and isinstance(expected, int) and expected:
            tally.shares.append(1 - found / expected)


def _figures(one: _Tally) -> dict[str, object]:
    """The figures that summaries of runs and of days have in common."""
    lower, median, upper = quartiles(one.walls) if one.walls else (None, None, None)
    counts = {"n": len(one.walls), "failed": one.failed, "noisy": one.noisy, "size_bytes": one.size_bytes}
    return counts | {"lower_ns": lower, "median_ns": median, "upper_ns": upper}


def _of_one_run(one: _Tally) -> dict[str, object]:
    """The figures that only a summary of a run has."""
    return {
        "lost_share": quartiles(one.shares)[1] if one.shares else None,
        "covariates": one.covariates,
        "greatest_ns": max(one.walls, default=None),
        "mad_ns": mad(one.walls) if one.walls else None,
    }


def quartiles(values: array[float]) -> tuple[float, float, float]:
    """A quarter, half and three quarters of at least one value, interpolated between the values (R's type 7).

    The values are in another order afterwards.
    """
    lower, median, upper = _quantiles(values, 1, 2, 3)
    return lower, median, upper


def mad(values: array[float]) -> float:
    """Median of the absolute deviations from the median; the values are these deviations afterwards."""
    (middle,) = _quantiles(values, 2)
    for place, value in enumerate(values):
        values[place] = abs(value - middle)
    (median,) = _quantiles(values, 2)
    return median


def _quantiles(values: array[float], *quarters: int) -> Iterator[float]:
    """So many quarters of the values, ascending. Sorted in place and in parts: a million objects take 40 MiB."""
    parts = [slice(at, at + _SORTED_AT_ONCE) for at in range(0, len(values), _SORTED_AT_ONCE)]
    for part in parts:
        values[part] = array("d", sorted(values[part]))
    view = memoryview(values)
    merged = heapq.merge(*(view[part] for part in parts))
    place, value = -1, 0.0
    following: float | None = None
    for quarter in quarters:
        wanted, share = divmod(quarter * (len(values) - 1), 4)
        while place < wanted:
            value = next(merged) if following is None else following
            place, following = place + 1, None
        if share and following is None:
            following = next(merged)
        yield value if following is None or not share else (value * (4 - share) + following * share) / 4


def _series_ids(connection: Connection, wanted: Sequence[Mapping[str, object]]) -> dict[object, int]:
    """The ids of series, by key; new series are written. They are looked up many at once: a run may have hundreds."""
    ids: dict[object, int] = {}
    for keys in in_portions([one["key"] for one in wanted]):
        query = select(SERIES.c.key, SERIES.c.id).where(SERIES.c.key.in_(keys))
        ids |= {row.key: row.id for row in connection.execute(query)}
    for one in wanted:
        if one["key"] not in ids:
            ids[one["key"]] = connection.execute(insert(SERIES).returning(SERIES.c.id), dict(one)).scalar_one()
    return ids


_RUNS = select(
    *columns(RUN, "id code_version usable_cpus quota_cpus smt covariates host_id"), *columns(HOST, "name fingerprint")
).join(HOST)
# A run keeps all of its ciphertext, or none.
_KEPT = select(ENCRYPTION.c.id).where(ENCRYPTION.c.vault_id.is_not(None))
_PAYLOADS = select(*columns(ENCRYPTION, "suite backend backend_detail size_bytes status wall_ns")).order_by(
    ENCRYPTION.c.ordinal
)
_SAMPLES = (
    select(
        *columns(SAMPLE, "case_id interpreter_id outcome expected found wall_ns noisy"),
        *columns(CASE, "key workload_version guard"),
        INTERPRETER.c.fingerprint.label("interpreter"),
        *columns(INTERPRETER, "version label"),
    )
    .join(CASE)
    .join(INTERPRETER)
    .order_by(SAMPLE.c.ordinal)
)
