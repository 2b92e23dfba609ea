"""Rows as a table, as JSON or as CSV; and series in few words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from db.rows import SeriesRow
from flows.cli.output import columns_of, plain, print_csv, print_json, say
from flows.cli.selection import Form
from flows.text import size


def print_rows(
    rows: Sequence[object],
    row_type: type,
    form: Form,
    table: Callable[[], None],
    nothing: str = "nothing on record matches",
) -> int:
    """In the form that was asked for, a table else, or that there is nothing to put in one; always exit code 0.

    In CSV the fields of a row's `series` are columns of their own, so that series can be told apart by them.
    """
    if form.json:
        print_json(rows)
    elif form.csv and "series" in columns_of(row_type):
        own = [column for column in columns_of(row_type) if column != "series"]
        print_csv([*columns_of(SeriesRow), *own], map(_flat, rows))
    elif form.csv:
        print_csv(columns_of(row_type), rows)
    elif rows:
        table()
    else:
        say(nothing)
    return 0


def _flat(row: object) -> dict[str, object]:
    values = plain(row)
    assert isinstance(values, dict)  # noqa: S101 - rows are dataclasses
    series = values.pop("series")
    assert isinstance(series, dict)  # noqa: S101 - likewise
    return {**series, **values}


def name_of(series: SeriesRow) -> str:
    """`speedup factorize thread ×4`, `race augmented lock ×5`, `modern openssl, < 128 KiB`, `modern native kept, …`."""
    if series.kind == "encryption":
        sizes = f"< {size(series.size_class or 1)}" if series.size_class != 1 else "empty or unread"
        return f"{series.suite} {series.backend}{' kept' * series.kept}, {sizes}"
    axes = (series.experiment, series.workload, series.executor, series.shape, series.guard)
    return " ".join([*(axis for axis in axes if axis), f"×{series.workers}"])


def identity(series: Iterable[SeriesRow]) -> tuple[tuple[str, ...], Callable[[SeriesRow], tuple[str | None, ...]]]:
    """Headings of the columns that are needed to tell these series apart, and their cells.

    The interpreter is shown where there is one, the host where there are several.
    """
    known = list(series)
    columns: list[tuple[str, Callable[[SeriesRow], str | None]]] = [("series", name_of)]
    if any(one.interpreter for one in known):
        columns.append(("interpreter", lambda one: one.interpreter))
    if len({one.host for one in known}) > 1:
        columns.append(("host", lambda one: one.host))
    return tuple(name for name, _ in columns), lambda one: tuple(cell(one) for _, cell in columns)
