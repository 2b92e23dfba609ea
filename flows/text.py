"""How values are written for people: one rule for each kind of value, used by everything that prints."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

Value = TypeVar("Value")
Word = TypeVar("Word", bound=str)
Made = TypeVar("Made")

TIMES = "\N{MULTIPLICATION SIGN}"
# The message of a run is one line, and names at most so many faults; all of them: threadmill history failures.
FAULTS_NAMED = 5
_AGE_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def if_known(make: Callable[[Value], Made], value: Value | None) -> Made | None:
    """The result for a value; None stays None, an empty cell."""
    return None if value is None else make(value)


# Names


def visible(text: str) -> str:
    r"""Write control and direction characters as `\x1b`, `\u202e`, and characters that no encoding takes likewise."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def shown_path(path: str | bytes) -> str:
    r"""A path for people and for JSON; bytes that are not UTF-8 appear as `\xff`."""
    name = path if isinstance(path, bytes) else path.encode(errors="surrogateescape")
    return name.decode(errors="backslashreplace")


def shown_bytes(path: bytes) -> str:
    """A path on one line, whatever is in its name."""
    return visible(shown_path(path))


# Numbers


def number(value: float) -> str:
    """A whole number: `2,000`."""
    return f"{value:,.0f}"


def plural(count: int, what: str) -> str:
    """`1 trial`, `2,000 trials`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def counted(counts: Mapping[Word, int]) -> str:
    """Counts by status: `2,000 ok, 3 failed`; the good ones first, then the most frequent."""
    return ", ".join(f"{n:,} {name}" for name, n in sorted(counts.items(), key=lambda one: (one[0] != "ok", -one[1])))


def named(faults: Sequence[str], total: int) -> str:
    """The faults, and how many more there are: `one; other and 3 more`."""
    more = total - len(faults)
    return "; ".join(faults) + (f" and {more:,} more" if more else "")


def percent(share: float) -> str:
    """A share from 0 to 1 as `41 %`, never rounded down to nothing."""
    return "less than 1 %" if 0 < share < 0.01 else f"{share * 100:.0f} %"


def ratio(value: float) -> str:
    """A ratio of times: `1.53`."""
    return f"{value:.2f}"


def factor(value: float) -> str:
    """A speed-up: `1.53` with the sign for times; one digit after the point from ten on."""
    return f"{value:.1f}{TIMES}" if value >= 10 else f"{value:.2f}{TIMES}"


def interval(low: float | None, high: float | None) -> str | None:
    """`1.17 to 1.21`; None without an interval."""
    return None if low is None or high is None else f"{low:.2f} to {high:.2f}"


# Sizes and rates


def size(size_bytes: float) -> str:
    """`57 B`, `128 KiB`, `1.53 MiB`: three digits."""
    value, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.3g} {unit}" if value < 999.5 else f"{value:,.0f} {unit}"


def rate(bytes_per_s: float) -> str:
    """`47.3 MiB/s`."""
    return f"{size(bytes_per_s)}/s"


def megabytes(size_bytes: float) -> str:
    """Bytes for a column of MB or MB/s: `12.3` millions of bytes, `0.0123` where there is less."""
    value = size_bytes / 1e6
    return f"{value:,.1f}" if value >= 0.1 else f"{value:.4f}" if value else "0"


def sizes_of(size_class: int) -> str:
    """The sizes of a class, which lie below a power of two and not below its half: `64 to 128 KiB`."""
    if size_class <= 1:
        return "0 B"
    units = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
    power = min((size_class.bit_length() - 1) // 10, len(units) - 1)
    upper = size_class >> (10 * power)
    if upper == 1 and power:
        return f"512 {units[power - 1]} to 1 {units[power]}"
    return f"{upper // 2} to {upper} {units[power]}"


_UNIT_FORM = r" ?(%|[KMGT]i?B|B)"
SHARE_FORM = r"(\d{1,15}(?:\.\d{1,6})?)" + _UNIT_FORM
# More than nothing; the patterns of flows' forms have no look-ahead.
SOME_FORM = r"([1-9]\d{0,14}(?:\.\d{1,6})?|0\.0{0,3}[1-9]\d{0,2})" + _UNIT_FORM
SIZE_FORM = r"([1-9]\d{0,14}(?:\.\d{1,6})?) ?([KMGT]i?B|B)"
_SIZE_UNITS = {"%": 0.0, "B": 1} | {f"{one}B": 1000 ** (n + 1) for n, one in enumerate("KMGT")}
_SIZE_UNITS |= {f"{one}iB": 1024 ** (n + 1) for n, one in enumerate("KMGT")}


def parse_share(text: str, whole_bytes: int) -> int:
    """The bytes that `10%` of the whole are, or `5GB`, whatever the whole is."""
    match = re.fullmatch(SHARE_FORM, text)
    if match is None:
        raise ValueError("a share is a percentage or a size: 10%, 5GB")
    value = float(match[1])
    return round(value * whole_bytes / 100 if match[2] == "%" else value * _SIZE_UNITS[match[2]])


def parse_percentage(text: str) -> float:
    """The share, from 0 to 1, that `50%` is."""
    if not re.fullmatch(r"\d{1,3}(\.\d{1,6})?%", text) or float(text[:-1]) > 100:
        raise ValueError("write a percentage: 50%, 12.5%")
    return float(text[:-1]) / 100


# Times


def duration(time_ns: float) -> str:
    """`850 ns`, `12.3 ms`, `1.00 s`, `4.50 min`: three digits."""
    value, unit = float(time_ns), "ns"
    for step, longer in ((1000, "µs"), (1000, "ms"), (1000, "s"), (60, "min"), (60, "h")):
        if value < (999.5 if step == 1000 else 2 * step):
            break
        value, unit = value / step, longer
    if 0 < value < 999.5:
        return f"{value:#.3g}".rstrip(".") + f" {unit}"
    return f"{value:,.0f} {unit}"


def milliseconds(time_ns: float) -> str:
    """Nanoseconds for a column of milliseconds: `12.34`, and `0.0123` where there is less."""
    return f"{time_ns / 1e6:,.2f}" if time_ns >= 1e5 or not time_ns else f"{time_ns / 1e6:.4f}"


def local(time: datetime) -> str:
    """A time in the reader's zone, for a terminal: `2026-11-22 03:00:01`; in an hour that comes twice, as `zoned`."""
    there = time.astimezone().replace(tzinfo=None)
    first, second = (there.replace(fold=fold).astimezone().utcoffset() for fold in (0, 1))
    return f"{there:%Y-%m-%d %H:%M:%S}" if first == second else zoned(time)


def zoned(time: datetime) -> str:
    """The same with the zone, for what is compared with clocks elsewhere: `2026-11-22 03:00:01 +0100`."""
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S %z}"


def utc(time: datetime) -> str:
    """A time as it is recorded, for a page, which is read in other zones than it was made in."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def day(time: datetime) -> str:
    """`2026-11-22`."""
    return f"{time:%Y-%m-%d}"


def age(time: timedelta) -> str:
    """`3 minutes`, `7 hours`, `24 days`."""
    seconds = max(0, int(time.total_seconds()))
    if seconds < 2 * 3600:
        return plural(seconds // 60, "minute")
    return plural(seconds // 3600, "hour") if seconds < 2 * 86400 else plural(seconds // 86400, "day")


def ago(time: datetime) -> str:
    """`2026-11-22 03:00:01 (7 hours ago)`; of a wrong clock `2099-01-01 00:00:00 (26331 days from now)`."""
    passed = datetime.now(UTC) - time
    return f"{local(time)} ({age(abs(passed))} {'ago' if passed >= timedelta() else 'from now'})"


def after_now(what: str, time: datetime, now: datetime) -> str:
    """The complaint about something that is dated after now."""
    return f"{what} is of {utc(time)}, and the clock says {utc(now)}: it is wrong now, or was wrong then"


# Months and minutes both begin with an m, and what is removed is gone: days and weeks only.
KEEP_FORM = r"[1-9]\d{0,4}[dw]"


WAIT_FORM = r"([1-9]\d{0,4})([smh])"


def parse_wait_s(text: str) -> int:
    """Seconds: `30s`, `10m`, `1h`, in the form of WAIT_FORM."""
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def parse_age(text: str) -> timedelta:
    """`30m`, `36h`, `2d`, `4w`; ValueError if it is none of these."""
    match = re.fullmatch(r"([1-9]\d{0,4})([mhdw])", text)
    if match is None:
        raise ValueError("an age is a number of minutes, hours, days or weeks: 30m, 36h, 2d, 4w")
    return int(match[1]) * _AGE_UNITS[match[2]]
