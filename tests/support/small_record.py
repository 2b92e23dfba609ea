"""A record of a few days for tests that look after it: payloads and samples of every kind, good ones and bad ones."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from datetime import date, timedelta

import pytest

from tasks.axes import Executor, Guard, Shape, Workload
from tasks.threads.cases import Case
from tests.support.generated_record import GeneratedRecord, NewPayload, NewSample, at_hour, object_of
from tests.support.vault_fakes import Snapshot, Verdict

PATH = "/srv/documents/lease.pdf"
DAYS = 3
RUNS = 4 * DAYS
_SAMPLES = (
    NewSample(Case.speedup(Workload.FACTORIZE, Executor.SERIAL), 300_000_000),
    NewSample(Case.speedup(Workload.FACTORIZE, Executor.THREAD), 330_000_000),
    NewSample(Case.race(Guard.NONE, Shape.AUGMENTED), 200_000_000, "3.13.0t", outcome="lost", lost=1_500_000),
    NewSample(Case.race(Guard.LOCK, Shape.AUGMENTED), 900_000_000, "3.13.0t"),
    NewSample(Case.race(Guard.LOCK, Shape.AUGMENTED), 900_000_000, "3.13.0t", outcome="broken", lost=3),
)


def make_small(url: str, first_day: date) -> None:
    """Fill a database; nothing is rolled up."""
    record = GeneratedRecord(url)
    for day in (first_day + timedelta(days=number) for number in range(DAYS)):
        payloads = (
            NewPayload(PATH, 8_000_000, 1_900_000),
            NewPayload("random #1", 500_000, 4096, backend="native", detail="cryptography 50"),
            NewPayload("/srv/documents/gone.odt", 0, 0, status="failed", cause="unreadable"),
        )
        record.run(
            at_hour(day, 2), payloads=payloads, flow="encrypt_files", deployment="nightly", status="failed", error="one"
        )
        record.run(at_hour(day, 4), samples=_SAMPLES)
        _use_vault(record, day, (day - first_day).days + 1)
    record.close()


def _use_vault(record: GeneratedRecord, day: date, sequence: int) -> None:
    """A run that keeps two files, and one that finds one of them changed."""
    begin = at_hour(day - timedelta(days=1), 5)
    payloads = [NewPayload(path, 2_000_000, 1_900_000, backend="native") for path in (PATH, "/srv/documents/new.odt")]
    snapshot = Snapshot(sequence, begin - timedelta(days=sequence - 1))
    run_id = record.run(at_hour(day, 5), payloads=payloads, snapshot=snapshot, flow="encrypt_files")
    good, bad = (object_of(run_id, one.name) for one in payloads)
    verdicts = [Verdict(good, begin=begin), Verdict(bad, "changed", begin=begin, path=b"/srv/documents/new.odt")]
    record.run(at_hour(day, 6), verdicts=verdicts, flow="verify_vault", status="failed", error="1 changed")


def on_small_disk(
    command: Sequence[str], environment: dict[str, str], folder: str, size: str = "64k"
) -> subprocess.CompletedProcess[str]:
    """Run a command with a disk of that size at `folder`, then list what is left there; skip where there is none."""
    script = f'mount -t tmpfs -o size={size} threadmill "$0" || exit 99; "$@"; code=$?; ls -A "$0"; exit $code'
    ended = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, folder, *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if ended.returncode == 99 or "unshare" in ended.stderr:
        pytest.skip(f"no small disk can be mounted here: {ended.stderr.strip()}")
    return ended
