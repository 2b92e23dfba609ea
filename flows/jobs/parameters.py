"""Parameters of the jobs: a class is at once the options of a command, the form of a flow, and a run's parameters.

A field's type has its bounds and choices, and its text is the help of the option and the description in the form.
Paths of secrets and of the vault are no parameters: they are settings of the process that runs the job. This module
imports no engine, so that a command line is refused quickly.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, final

from annotated_types import Ge, Interval, Le, MinLen
from cyclopts import Parameter

from flows.jobs.arguments import JobParameters, Matches
from flows.option_types import NAMES, Flag, Whole
from flows.text import KEEP_FORM, SHARE_FORM, SIZE_FORM, SOME_FORM, WAIT_FORM
from tasks.axes import Executor, Experiment, Guard, Shape, Workload
from tasks.suites import SUITES, BackendChoice, Compression, SuiteName

Jobs = Annotated[
    Annotated[Whole, Interval(ge=1, le=256)] | None,
    Parameter(help="chains at once, 1 to 256 (default: usable CPUs)"),
]
Suites = Annotated[
    tuple[SuiteName, ...],
    MinLen(1),
    NAMES,
    Parameter(name="--suite", help=f"what to encrypt and hash with: {', '.join(SUITES)}; several run in turn"),
]
Backends = Annotated[
    tuple[BackendChoice, ...],
    MinLen(1),
    NAMES,
    Parameter(
        name="--backend",
        help="auto takes openssl where it can run the suite, and native into a vault; openssl, by child processes; "
        "native, faster at every size; several run in turn",
    ),
]
LegacySize = Annotated[Flag, Parameter(help="let the suite classic take payloads over 8 MiB")]


@final
@dataclass(frozen=True, kw_only=True)
class EncryptFiles(JobParameters):
    """Encrypt files and folders."""

    paths: Annotated[
        tuple[str, ...],
        Parameter(
            parse=False,
            help="files and folders on the machine that runs the flow; a folder stands for all files below it; "
            "empty for those in THREADMILL_PATHS",
        ),
    ] = ()
    suites: Suites = ("modern",)
    backends: Backends = ("auto",)
    jobs: Jobs = None
    allow_legacy_size: LegacySize = False
    exclude: Annotated[
        tuple[str, ...],
        Parameter(
            negative=(),
            show_default=False,
            metavar="PATTERN",
            help="what to leave out of the vault, as gitignore does, relative to each path or absolute below one; "
            "may be repeated",
        ),
    ] = ()
    max_size: Annotated[
        Annotated[str, Matches(SIZE_FORM, "is no size; write 500MB or 2GiB")] | None,
        Parameter(
            metavar="SIZE", help="leave files that are larger out of the vault, and say how many (default: no limit)"
        ),
    ] = None
    may_change: Annotated[
        tuple[str, ...],
        Parameter(
            negative=(),
            show_default=False,
            metavar="PATTERN",
            help="files that change while they are read, as --exclude has them: kept as they were read, and no fault; "
            "may be repeated, and adds to THREADMILL_MAY_CHANGE",
        ),
    ] = ()
    rehash: Annotated[
        Flag, Parameter(help="read files that look unchanged too, and encrypt those whose content has changed")
    ] = False
    compression: Annotated[
        Compression,
        Parameter(help="of content that a vault keeps: auto where it shrinks, max is slower and shrinks it more; off"),
    ] = "auto"
    discard: Annotated[Flag, Parameter(help="keep nothing, although THREADMILL_VAULT is set")] = False

    @property
    def is_of_vault(self) -> bool:
        """Whether they have something that only a vault knows."""
        chosen = self.exclude or self.max_size or self.may_change or self.rehash
        return bool(chosen) or self.compression != "auto"


@final
@dataclass(frozen=True, kw_only=True)
class EncryptPayloads(JobParameters):
    """Encrypt random payloads, which lie in memory meanwhile."""

    size_bytes: Annotated[int, Interval(ge=0, le=1 << 30), Parameter(help="size of each payload, at most 1 GiB")] = 100
    count: Annotated[
        int,
        Interval(ge=1, le=1_000_000),
        Parameter(help="how many payloads under every suite and backend, at most 1,000,000"),
    ] = 3
    suites: Suites = ("modern",)
    backends: Backends = ("auto",)
    jobs: Jobs = None
    allow_legacy_size: LegacySize = False


@final
@dataclass(frozen=True, kw_only=True)
class AcceptSnapshot(JobParameters):
    """Have a snapshot in doubt count."""

    snapshot: Annotated[str, Parameter(help="latest, or the beginning of its name")]


_NO_SHARE = "is neither a percentage nor a size; write 10% or 5GB"
Share = Matches(SHARE_FORM, _NO_SHARE)
Some = Matches(SOME_FORM, _NO_SHARE)


@dataclass(frozen=True, kw_only=True)
class VerifyVault(JobParameters):
    """Check a vault."""

    must_write = must_read = False

    sample: Annotated[
        Annotated[str, Some] | None,
        Parameter(
            help="read only so much of the packs and large objects, 10% or 5GB, those verified least recently first "
            "(default: all)"
        ),
    ] = None
    snapshots_only: Annotated[
        Flag, Parameter(name="--snapshots", help="check everything but the content of objects")
    ] = False


Count = Annotated[Whole, Ge(0), Le(100_000)]
ClockIsRight = Annotated[
    Flag, Parameter(help="remove although the clock is behind the newest one on record, or far beyond it")
]


def _newest(unit: str) -> Parameter:
    return Parameter(help=f"keep the newest snapshot of each of the last N {unit} that have one")


@dataclass(frozen=True, kw_only=True)
class PruneVault(JobParameters):
    """Remove snapshots from a vault."""

    # A vault that was set back is known by the record alone.
    must_write = False

    keep_last: Annotated[Count, Parameter(help="keep the newest N snapshots")] = 0
    keep_daily: Annotated[Count, _newest("days")] = 0
    keep_weekly: Annotated[Count, _newest("weeks")] = 0
    keep_monthly: Annotated[Count, _newest("months")] = 0
    max_unused: Annotated[
        Annotated[str, Share],
        Parameter(help="rewrite packs until no more of the vault than this is of no use to any snapshot, 10% or 5GB"),
    ] = "10%"
    clock_is_right: ClockIsRight = False


@dataclass(frozen=True, kw_only=True)
class RestoreFiles(JobParameters):
    """Bring files back from a vault."""

    must_write = must_read = False

    target: Annotated[
        str, Parameter(parse=False, help="folder on the machine that runs the flow, made if it is not there")
    ] = ""
    snapshot: Annotated[
        str, Parameter(parse=False, help="latest, or the beginning of a snapshot's name (see threadmill snapshots)")
    ] = "latest"
    paths: Annotated[
        tuple[str, ...], Parameter(parse=False, help="only these and what is below them; empty for all")
    ] = ()
    overwrite: Annotated[Flag, Parameter(help="replace files and links that are there")] = False
    last_good: Annotated[
        Flag,
        Parameter(help="bring marked files back as they were when they were last read without changing, if known"),
    ] = False


@dataclass(frozen=True, kw_only=True)
class Maintain(JobParameters):
    """Look after the record."""

    remove_older_than: Annotated[
        Annotated[str, Matches(KEEP_FORM, "is not an age that runs are kept to; write 365d or 52w")] | None,
        Parameter(help="age in days or weeks, such as 365d (default: THREADMILL_KEEP; without it nothing is removed)"),
    ] = None
    clock_is_right: ClockIsRight = False


Workers = Annotated[int, Interval(ge=1, le=512)]


def _axis(question: str, axis: type[StrEnum], more: str = "") -> Parameter:
    """The option that is named after an axis and chooses on it."""
    return Parameter(name=f"--{axis.__name__.lower()}", help=f"of {question}: {', '.join(axis)} (default: all){more}")


@dataclass(frozen=True, kw_only=True)
class RunExperiments(JobParameters):
    """Measure the chosen cases in the chosen interpreters; an empty choice stands for all."""

    experiments: Annotated[
        tuple[Experiment, ...],
        Parameter(parse=False, help="the questions: speedup, race; ceiling is part of every round; empty for all"),
    ] = ()
    workloads: Annotated[tuple[Workload, ...], NAMES, _axis("speedup", Workload)] = ()
    executors: Annotated[
        tuple[Executor, ...], NAMES, _axis("speedup", Executor, "; serial is always there to compare with")
    ] = ()
    shapes: Annotated[tuple[Shape, ...], NAMES, _axis("race", Shape)] = ()
    guards: Annotated[tuple[Guard, ...], NAMES, _axis("race", Guard)] = ()
    workers: Annotated[
        tuple[Workers, ...], MinLen(1), Parameter(parse=False, help="of pools and of ceiling, 1 to 512 each")
    ] = (2,)
    pythons: Annotated[
        tuple[str, ...],
        NAMES,
        Parameter(
            name="--python",
            help="paths or versions (3.12, 3.13t) on the machine that measures, or all that are found "
            "(default: the running one)",
        ),
    ] = ()
    rounds: Annotated[
        Annotated[Whole, Interval(ge=1, le=10_000)] | None,
        Parameter(help="how often every case is measured, 1 to 10,000 (default: 20, with quick 6)"),
    ] = None
    seed: Annotated[
        Whole | None, Parameter(help="of the order of cases, any number; drawn and recorded unless given")
    ] = None
    quick: Annotated[Flag, Parameter(help="lower counts and fewer rounds")] = False
    until_quiet: Annotated[
        Annotated[str, Matches(WAIT_FORM, "is no time to wait; write 30s, 10m or 1h")] | None,
        Parameter(
            help="wait until others use less than a tenth of the CPUs, before each round, for so long in all: 10m"
        ),
    ] = None
    resume: Annotated[
        Annotated[Whole, Ge(1)] | None,
        Parameter(help="number of an interrupted run: measure its rounds that are not on record, by its options"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Survey(JobParameters):
    """The chapter has its own numbers."""
