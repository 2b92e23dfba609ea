"""Groups of options that several commands have: each dataclass is a parameter of a command."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.errors import RequestRefused
from flows.option_types import Csv, Json, Limit, Names, Whole
from flows.text import parse_age
from tasks.axes import Executor, Experiment, Guard, Shape, Workload
from tasks.suites import SUITES

if TYPE_CHECKING:
    from db.history import SampleFilter, SeriesFilter


def point_in_time(text: str) -> datetime:
    """`7d` (ago; also m, h, w), `today`, `yesterday`, `2026-11-22`, `2026-11-22T03:00`; local time if without zone."""
    text = text.strip()
    try:
        if text[-1:] in ("m", "h", "d", "w"):
            return datetime.now(UTC) - parse_age(text)
        time = (_day(text) or datetime.fromisoformat(text)).astimezone(UTC)
    except (ValueError, OverflowError):
        time = datetime.max.replace(tzinfo=UTC)
    # Days are added to it, and taken from it.
    if not 1000 <= time.year < 9000:
        raise RequestRefused(
            f"{text[:60]!r} is not a time; write 7d, 12h, today, yesterday, 2026-11-22 or 2026-11-22T03:00"
        )
    return time


def end_in_time(text: str) -> datetime:
    """The same words as the end of a span; a day means the end of that day."""
    try:
        day = _day(text.strip())
    except ValueError:
        day = None
    begin = point_in_time(text)
    return begin if day is None else (day + timedelta(days=1)).astimezone(UTC)


def _day(text: str) -> datetime | None:
    """Midnight, local and without a zone, where the text names a day; ValueError if there is no such day."""
    midnight = datetime.now().replace(hour=0, minute=0, second=0, microsecond=0)  # noqa: DTZ005 - local on purpose
    if text == "today":
        return midnight
    if text == "yesterday":
        return midnight - timedelta(days=1)
    return datetime.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else None


_WHEN = "7d, 12h, today, 2026-11-22, 2026-11-22T03:00"
_BACKENDS = ("openssl", "native")
_AXES: Mapping[str, type[StrEnum]] = {
    "experiment": Experiment, "workload": Workload, "executor": Executor, "shape": Shape, "guard": Guard,
}  # fmt: skip


def need_known(what: str, names: Sequence[str], known: Iterable[str], choice: str = "there are") -> None:
    """Raises RequestRefused for a name that is not among the known ones."""
    there = list(map(str, known))
    if unknown := [name for name in names if name not in there]:
        raise RequestRefused(f"unknown {what} {unknown[0]!r}; {choice}: {', '.join(there)}")


class Axes:
    """The options for axes of the experiments; a subclass has some of them."""

    def axes(self) -> dict[str, Sequence[str | int]]:
        """The wanted values by axis, checked; an axis without wanted values is left out."""
        wanted: dict[str, Sequence[str | int]] = {}
        for axis, known in _AXES.items():
            if names := getattr(self, axis, ()):
                need_known(axis, names, known)
                wanted[axis] = names
        return wanted


@Parameter(name="*")
@dataclass(frozen=True)
class Workloads(Axes):
    """The axes of `speedup`."""

    workload: Annotated[Names, Parameter(help=", ".join(Workload))] = field(default_factory=list)
    executor: Annotated[Names, Parameter(help=", ".join(Executor))] = field(default_factory=list)


@Parameter(name="*")
@dataclass(frozen=True)
class Updates(Axes):
    """The axes of `race`."""

    shape: Annotated[Names, Parameter(help=", ".join(Shape))] = field(default_factory=list)
    guard: Annotated[Names, Parameter(help=", ".join(Guard))] = field(default_factory=list)


@Parameter(name="*")
@dataclass(frozen=True)
class Cases(Updates, Workloads):
    """All axes of the experiments."""

    experiment: Annotated[Names, Parameter(help=", ".join(Experiment))] = field(default_factory=list)


@Parameter(name="*")
@dataclass(frozen=True)
class Hosts:
    """Machines by host name."""

    host: Annotated[Names, Parameter(help="only these machines")] = field(default_factory=list)


@Parameter(name="*")
@dataclass(frozen=True)
class Machines(Hosts):
    """Machines, and interpreters by version."""

    interpreter: Annotated[Names, Parameter(help="versions such as 3.12, 3.13.0, 3.13t")] = field(default_factory=list)


@Parameter(name="*")
@dataclass(frozen=True)
class Chains:
    """Suites and backends."""

    suite: Annotated[Names, Parameter(help=", ".join(SUITES))] = field(default_factory=list)
    backend: Annotated[Names, Parameter(help="openssl, native")] = field(default_factory=list)

    def suites(self) -> Sequence[str]:
        """The wanted suites, each once."""
        need_known("suite", self.suite, SUITES)
        return list(dict.fromkeys(self.suite))

    def backends(self) -> Sequence[str]:
        """The wanted backends, in the words of the record: `auto` is a choice and never recorded."""
        need_known("backend", self.backend, _BACKENDS, "recorded are")
        return self.backend


@Parameter(name="*")
@dataclass(frozen=True)
class Times:
    """A span of time."""

    since: Annotated[str | None, Parameter(help=_WHEN)] = None
    until: Annotated[str | None, Parameter(help="likewise; a day counts to its end")] = None

    def span(self) -> tuple[datetime | None, datetime | None]:
        """The begin and the end; the end is not part of the span."""
        begin = None if self.since is None else point_in_time(self.since)
        end = None if self.until is None else end_in_time(self.until)
        if begin is not None and end is not None and begin >= end:
            raise RequestRefused(f"there is no time between --since {self.since} and --until {self.until}")
        return begin, end


@Parameter(name="*")
@dataclass(frozen=True)
class TimesOrRun(Times):
    """A span of time, or one run."""

    run: Annotated[Whole | None, Parameter(help="only this run, by its number")] = None


@Parameter(name="*")
@dataclass(frozen=True)
class Form:
    """A table for people, or JSON or CSV for programs."""

    json: Json = False
    csv: Csv = False

    def __post_init__(self) -> None:
        """Raises RequestRefused for both at once."""
        if self.json and self.csv:
            raise RequestRefused("--json or --csv, not both")


@Parameter(name="*")
@dataclass(frozen=True)
class Listing(Form):
    """The first rows of a list, in one of the forms."""

    limit: Annotated[Limit, Parameter(help="how many at the most")] = 20


@Parameter(name="*")
@dataclass(frozen=True)
class SampleList(Listing, TimesOrRun, Machines):
    """Samples by interpreter, machine, and time or run."""

    def filter(self, case: Mapping[str, Sequence[str | int]]) -> SampleFilter:
        """The filter of the record for such cases."""
        since, until = self.span()
        from db.history import SampleFilter

        return SampleFilter(case, self.interpreter, self.host, since=since, until=until, run_id=self.run)


@Parameter(name="*")
@dataclass(frozen=True)
class FindingList(SampleList):
    """Findings, run by run."""

    limit: Annotated[Limit, Parameter(help="runs at the most")] = 5


@Parameter(name="*")
@dataclass(frozen=True)
class Selection(Times, Machines, Chains, Cases):
    """Everything that selects series of experiments and of encryptions."""

    def filter(self) -> SeriesFilter:
        """The selection as a filter of the record; refused if it leaves nothing whatever is on record."""
        since, until = self.span()
        from db.history import SeriesFilter

        which = SeriesFilter(
            self.axes(), self.interpreter, self.suites(), self.backends(), self.host, since=since, until=until
        )
        if which.of_samples and which.of_payloads:
            raise RequestRefused("--suite and --backend are of encryptions, the other filters of experiments: not both")
        return which


@Parameter(name="*")
@dataclass(frozen=True)
class SeriesList(Listing, Selection):
    """A list of what belongs to series."""
