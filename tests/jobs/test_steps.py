"""Steps are values: pickled and run in another process, they come to the same rows; and how they are counted."""

from __future__ import annotations

import pickle
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from db.history import History, PayloadFilter, SampleFilter, VerdictFilter
from db.rows import NewRun
from db.store import Store
from flows.jobs.encrypt import encryption_job
from flows.jobs.experiment import experiment_job, survey
from flows.jobs.keep import keeping_job
from flows.jobs.parameters import EncryptFiles, EncryptPayloads, PruneVault, RestoreFiles, RunExperiments, VerifyVault
from flows.jobs.restore import restoration_job
from flows.jobs.run import DirectRunner, Here, Job, MoreDone, OpenRun, PlannedWork, Runner, Step, Tools
from flows.jobs.upkeep import pruning_job, verification_job
from flows.settings import Settings
from tasks.axes import Executor, Experiment, Outcome, Workload
from tasks.cancel import CancelToken
from tasks.crypto.secret import KeyFile, Secret, write_key_file
from tasks.threads.cases import Round, Sample
from tasks.vault.vault import init_vault
from tests.support.fresh_process import FreshProcessRunner
from tests.support.vaults import everything

ASKED = RunExperiments(experiments=(Experiment.SPEEDUP,), workloads=(Workload.WAIT,), executors=(Executor.THREAD,))
# Drawn or measured anew by every run.
_DIFFERENT = (
    "run_id", "salt", "digest", "started_at", "wall_ns", "cpu_ns", "runq_ns", "blocked_ns", "context_switches",
    "foreign_share", "noisy", "positive_lost", "found", "stages",
)  # fmt: skip


class Heard:
    """A `Reporter` that keeps the events."""

    def __init__(self) -> None:
        self.work: list[PlannedWork] = []
        self.counts: list[list[int]] = []
        self.faults: list[str] = []

    def planned(self, work: PlannedWork) -> None:
        self.work.append(work)
        self.counts.append([])

    def started(self, run_id: int) -> None:
        pass

    def progressed(self, more: MoreDone) -> None:
        self.counts[-1].append(more.count)
        self.faults += more.faults


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/history.sqlite")


@pytest.fixture
def history(store: Store, tmp_path: Path) -> History:
    return History(f"sqlite:///{tmp_path}/history.sqlite")


@pytest.fixture
def run(store: Store, history: History) -> Callable[[Job, Runner], OpenRun]:
    def run_job(job: Job, runner: Runner) -> OpenRun:
        return job(NewRun("test", "direct", {}, "test"), Tools(store, history, runner, Heard(), CancelToken()))

    return run_job


def same(rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Rows by ordinal, without the parts that differ from run to run."""
    facts = [{name: getattr(row, name) for name in row.__dataclass_fields__ if name not in _DIFFERENT} for row in rows]
    return sorted(facts, key=lambda one: int(one["ordinal"]))


def make_files(folder: Path) -> None:
    """A folder's files, and a link to nothing."""
    folder.mkdir()
    for number in range(5):
        (folder / f"file {number} {{x}}").write_bytes(b"x" * 1000 * number)
    (folder / "none").symlink_to("nowhere")


def jobs_of(name: str, tmp_path: Path) -> Job:
    settings = Settings(home=str(tmp_path / "home"), key_file=str(tmp_path / "key"), jobs=1)
    if name == "files":
        make_files(tmp_path / "tree")
        write_key_file(str(tmp_path / "key"))
        files = EncryptFiles(paths=(str(tmp_path / "tree"),), suites=("modern", "cbc"), backends=("openssl", "native"))
        return encryption_job(files, settings)
    if name == "random":
        return encryption_job(EncryptPayloads(suites=("classic", "modern")), settings)
    if name == "survey":
        return partial(survey, 1, settings, settings.measuring_lock)
    return experiment_job(replace(ASKED, quick=True, rounds=2, seed=1), settings)


@pytest.mark.parametrize("name", ["files", "random", "experiment", pytest.param("survey", marks=pytest.mark.slow)])
def test_every_step_is_a_value(
    name: str, run: Callable[[Job, Runner], OpenRun], history: History, tmp_path: Path
) -> None:
    """Pickled and run in a process of its own, each step records the same rows but for salts, digests and times."""
    job, fresh = jobs_of(name, tmp_path), FreshProcessRunner()
    here, there = run(job, DirectRunner(2)), run(job, fresh)
    assert here.exit_code == there.exit_code == 0
    assert fresh.names
    payloads = [history.payloads(PayloadFilter(run_id=one.run_id), limit=None) for one in (here, there)]
    samples = [history.samples(SampleFilter(run_id=one.run_id), limit=None) for one in (here, there)]
    assert same(payloads[0]) == same(payloads[1])
    assert {sample["round"] for sample in same(samples[0])} == {sample["round"] for sample in same(samples[1])}
    cases = [
        {(row.round, row.experiment, row.workload, row.executor, row.guard, row.interpreter) for row in rows}
        for rows in samples
    ]
    assert cases[0] == cases[1]
    assert bool(payloads[0]) == (name != "experiment")
    assert bool(samples[0]) == (name in ("experiment", "survey"))


def test_every_step_on_a_vault_is_a_value(
    run: Callable[[Job, Runner], OpenRun], history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The life of a vault, with each step in a process of its own, comes to the same rows and the same files."""
    monkeypatch.setattr("tasks.vault.portions.PORTION_ENTRIES", 3)
    tree = tmp_path / "tree"
    (tree / "folder").mkdir(parents=True)
    write_key_file(str(tmp_path / "key"))
    settings = {
        name: Settings(vault=str(tmp_path / name), key_file=str(tmp_path / "key"), jobs=1) for name in ("here", "there")
    }
    for name in settings:
        init_vault(str(tmp_path / name), KeyFile(str(tmp_path / "key")).secret())
    runners: dict[str, Runner] = {"here": DirectRunner(2), "there": FreshProcessRunner()}

    def both(make: Callable[[str], Job]) -> tuple[OpenRun, OpenRun]:
        here, there = (run(make(name), runners[name]) for name in ("here", "there"))
        assert here.exit_code == there.exit_code
        return here, there

    def rows(one: OpenRun) -> list[dict[str, Any]]:
        # Objects and packs come by their digests, which each vault has its own of.
        different = ("run_id", "ordinal", "name", "vault_id", "vault_path", "checked_at", "wall_ns")
        found = history.verdicts(VerdictFilter(run_id=one.run_id), limit=None)
        # Digests of another vault compress differently, and are named in texts.
        alike = [
            replace(
                row,
                size_bytes=None if row.kind == "snapshot" else row.size_bytes,
                error=row.error and re.sub("[0-9a-f]{64}", "", row.error),
            )
            for row in found
        ]
        facts = [{name: value for name, value in asdict(row).items() if name not in different} for row in alike]
        return sorted(facts, key=repr)

    def encrypt_tree(name: str) -> Job:
        return keeping_job(EncryptFiles(paths=(str(tree),)), settings[name])

    for number in range(5):
        (tree / "folder" / f"{number}").write_bytes(b"x" * 100 * number)
        (tree / f"{number}").write_bytes(b"y" * 100 * number)
    (tree / "folder").chmod(0o750)
    for content in (b"first", b"changed"):
        (tree / "1").write_bytes(content)
        # So long after the last change that the next run takes over what did not change.
        time.sleep(0.1)
        here, there = both(encrypt_tree)
        payloads = [history.payloads(PayloadFilter(run_id=one.run_id), limit=None) for one in (here, there)]
        assert same([replace(row, vault_id=None, kept_in=None, pack=None) for row in payloads[0]]) == same(
            [replace(row, vault_id=None, kept_in=None, pack=None) for row in payloads[1]]
        )
    here, there = both(lambda name: verification_job(VerifyVault(), settings[name]))
    assert rows(here) == rows(there) != []
    here, there = both(
        lambda name: restoration_job(RestoreFiles(target=str(tmp_path / f"back {name}")), settings[name])
    )
    # Only faults are recorded.
    assert rows(here) == rows(there) == []
    assert here.message.partition(" files")[2] == there.message.partition(" files")[2]
    trees = [everything(Path(f"{tmp_path}/back {name}{tree}")) for name in ("here", "there")]
    assert trees[0] == trees[1] == everything(tree)
    here, there = both(lambda name: pruning_job(PruneVault(keep_last=1), settings[name]))
    assert rows(here) == rows(there) != []


def test_a_sample_that_is_taken_again_is_not_counted_again(
    store: Store, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are noisy, the counts add up to the planned total, and never go beyond it on the way."""

    def all_noisy(one: Round, *, tell: Callable[[Sample], None], **_: object) -> tuple[Sample, ...]:
        samples = [
            Sample(
                step.case, step.interpreter.fingerprint, "0" * 64, one.number, datetime.now(UTC), outcome, noise="busy"
            )
            for step in one.steps
            for outcome in (Outcome.OK, Outcome.OK)
        ]
        for sample in samples:
            tell(sample)
        return tuple(samples)

    monkeypatch.setattr("flows.jobs.experiment.measure_round", all_noisy)
    heard = Heard()
    job = experiment_job(replace(ASKED, rounds=3), Settings(home=str(tmp_path)))
    tools = Tools(store, history, DirectRunner(1), heard, CancelToken())
    done = job(NewRun("test", "direct", {}, "test"), tools)
    (work,), (counts,) = heard.work, heard.counts
    assert sum(counts) == work.total
    assert min(counts) == 0
    assert len(history.samples(SampleFilter(run_id=done.run_id), limit=None)) == 2 * work.total
    assert "noisy); something else ran on this host" in done.message
    assert heard.faults == []


def test_here_never_travels() -> None:
    """Pickled, the token and the listener are those of the process that unpickles them."""
    here = Here(CancelToken(), print)
    here.cancel.cancel()
    there = pickle.loads(pickle.dumps(here))  # noqa: S301
    assert not there.cancel.cancelled
    assert there.tell is not print


def test_a_secret_refuses_to_be_pickled_in_a_step() -> None:
    """A step that holds a secret can go nowhere."""
    step = Step("k", "n", "r", partial(_give, Secret.draw()), _record)
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(step)


def _give(secret: Secret, here: Here) -> Secret:
    del here
    return secret


def _record(store: Store, run_id: int, secret: Secret) -> None:
    del store, run_id, secret
