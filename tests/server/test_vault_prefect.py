"""The vault's flows on a real Prefect server: the same rows as directly, graph, artifacts, and what goes wrong."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from db.history import History, SnapshotFilter, VerdictFilter
from db.rows import RunRow
from tasks.crypto.secret import KeyFile
from tasks.vault.vault import init_vault
from tests.server.test_prefect import artifacts_of, edges, flow_run_of, log_of, task_runs_of
from tests.support.commands import BIN, Command, clean_environment, read_json
from tests.support.prefect_api import Ask
from tests.support.processes import hang_on_payloads_only, make_hanging_openssl, wait_until
from tests.support.small_record import on_small_disk

ROOT = Path(__file__).parents[2]
# Of no use to a compressor.
CONTENT = random.Random(1).randbytes(5000)
# What one of Prefect's UIs would take for a link, and for markup.
ODD = "www.a.example [x](y) <b>"
COUNTS = ("entries", "files", "new", "unchanged", "skipped", "marked", "missed", "gone", "size_bytes", "stored_bytes")


@dataclass(frozen=True)
class Life:
    """Of a vault by flows and one by commands, step by step; see `vault_runs`."""

    folder: Path
    told: dict[str, dict[str, Any]]
    history: History

    def runs(self, step: str) -> tuple[RunRow, RunRow]:
        """The row of the flow run, and that of the command, which came after it."""
        by_prefect = self.history.run_of_flow(self.told[step]["id"])
        assert by_prefect is not None
        direct = self.history.run(by_prefect.id + 1)
        assert direct is not None
        return by_prefect, direct

    def verdicts(self, run: RunRow) -> Counter[tuple[str, str, str | None]]:
        """Kinds, statuses and paths; names of objects have chance in them."""
        rows = self.history.verdicts(VerdictFilter(run_id=run.id), limit=None)
        return Counter((row.kind, row.status, row.path) for row in rows)


@pytest.fixture(scope="module")
def life(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """Lived in one process, so that Prefect is imported once."""
    folder = tmp_path_factory.mktemp("life")
    tree = folder / "tree"
    (tree / "empty").mkdir(parents=True)
    (tree / "letter").write_bytes(b"dear reader")
    (tree / ODD).write_bytes(CONTENT)
    (tree / "link").symlink_to("letter")
    os.mkfifo(tree / "fifo")
    key = folder / "key"
    environment = clean_environment() | {
        "THREADMILL_HOME": str(folder / "home"),
        "THREADMILL_KEY_FILE": str(key),
        "PREFECT_API_URL": prefect_server,
        "HOME": str(folder),
    }
    subprocess.run([BIN / "threadmill", "keygen", key], env=environment, check=True, capture_output=True)
    program = [sys.executable, "-m", "tests.support.vault_runs", str(tree), str(folder)]
    ended = subprocess.run(program, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    history = History(f"sqlite:///{folder / 'home' / 'history.sqlite'}")
    yield Life(folder, json.loads(ended.stdout), history)
    history.close()


@pytest.mark.parametrize("step", ["first", "second", "verify", "restore", "prune", "damaged"])
def test_both_ways_record_the_same_rows(life: Life, step: str) -> None:
    """The run's row, the snapshot's counts and every verdict are those of the command; states are its exit codes."""
    by_prefect, direct = life.runs(step)
    assert (by_prefect.via, direct.via) == ("prefect", "direct")
    assert (by_prefect.flow, by_prefect.status) == (direct.flow, direct.status)
    places = ("vault", "target")
    assert [(name, value) for name, value in by_prefect.parameters.items() if name not in places] == [
        (name, value) for name, value in direct.parameters.items() if name not in places
    ]
    assert life.verdicts(by_prefect) == life.verdicts(direct)
    kept = [
        [tuple(getattr(row, name) for name in COUNTS) for row in life.history.snapshots(SnapshotFilter(run_id=run.id))]
        for run in (by_prefect, direct)
    ]
    assert kept[0] == kept[1]
    assert bool(kept[0]) == (step in ("first", "second"))
    told = life.told[step]
    assert (told["type"], told["code"]) == (("FAILED", 1) if step == "damaged" else ("COMPLETED", 0))


def test_what_came_back_is_what_went_in(life: Life) -> None:
    """A flow run restores contents, the link and the empty folder."""
    back = life.folder / "back by prefect" / str(life.folder / "tree")[1:]
    assert (back / "letter").read_bytes() == b"dear reader!"
    assert (back / ODD).read_bytes() == CONTENT
    assert os.readlink(back / "link") == "letter"
    assert list((back / "empty").iterdir()) == []


@pytest.mark.parametrize("step", ["second", "verify", "restore", "prune"])
def test_the_graph_goes_from_the_plan_by_batches_to_the_report(life: Life, step: str, ask: Ask) -> None:
    """Each batch waits for the plan, its recording for the batch, and the report for all that is recorded."""
    rows = task_runs_of(ask, life.told[step]["id"])
    drawn = edges(rows)
    records = {name for name in drawn if name.startswith("record ")}
    batches = drawn.keys() - records - {"plan", "report"}
    assert len(batches) == len(records) > 0
    assert drawn["plan"] == set()
    assert drawn["report"] == records
    assert all(drawn[name] == {"plan"} for name in batches)
    assert {frozenset(drawn[name]) for name in records} == {frozenset({name}) for name in batches}
    assert all(row["state_type"] == "COMPLETED" and row["name"].isascii() for row in rows)


def test_artifacts_say_what_is_in_the_vault_and_what_was_found(life: Life, ask: Ask) -> None:
    """The vault with its newest snapshot and its proofs, a verdict a line with its name as it is, and the report."""
    artifacts = artifacts_of(ask, life.told["verify"]["id"])
    assert {key: one["type"] for key, one in artifacts.items()} == {
        "verify-vault-vault": "table",
        "verify-vault-verdicts": "table",
        "verify-vault-report": "markdown",
    }
    facts = {row["what"]: row["value"] for row in json.loads(artifacts["verify-vault-vault"]["data"])}
    (snapshot,) = life.history.snapshots(SnapshotFilter(run_id=life.runs("second")[0].id))
    assert facts["vault"] == str(life.folder / "prefect")
    assert facts["newest snapshot"] == snapshot.name
    assert (facts["snapshots"], facts["its files"], facts["new"], facts["unchanged"], facts["skipped"]) == (
        2,
        2,
        1,
        1,
        1,
    )
    assert (facts["objects"], facts["bytes of objects"], facts["packs and large objects never proven"]) == (
        3,
        5000 + 11 + 12 + 3 * 16,
        0,
    )
    assert facts["oldest proof"].endswith("UTC")
    assert "NEEDS ATTENTION" not in facts
    verdicts = json.loads(artifacts["verify-vault-verdicts"]["data"])
    assert Counter((row["what"], row["status"]) for row in verdicts) == {
        ("vault", "ok"): 1,
        ("snapshot", "ok"): 2,
        ("pack", "ok"): 2,
    }
    report = artifacts["verify-vault-report"]["data"]
    assert "## Vault" in report
    assert "| pack | ok | 2 |" in report
    assert "## Encryption" not in report


def test_snapshot_is_among_the_artifacts_of_the_run_that_made_it(life: Life, ask: Ask) -> None:
    """In the table of the vault, before anything was proven; in the report; a payload's name is no markup."""
    artifacts = artifacts_of(ask, life.told["first"]["id"])
    assert artifacts.keys() == {f"encrypt-files-{name}" for name in ("payloads", "vault", "verdicts", "report")}
    (stored,) = json.loads(artifacts["encrypt-files-verdicts"]["data"])
    assert (stored["what"], stored["status"]) == ("pack", "stored")
    facts = {row["what"]: row["value"] for row in json.loads(artifacts["encrypt-files-vault"]["data"])}
    assert (facts["new"], facts["packs and large objects never proven"], facts["oldest proof"]) == (2, 1, "none")
    assert "**Snapshot of this run**" in artifacts["encrypt-files-report"]["data"]
    shown = {row["payload"] for row in json.loads(artifacts["encrypt-files-payloads"]["data"])}
    assert f"    {life.folder}/tree/{ODD}" in shown


def test_what_prune_removed_is_told(life: Life, ask: Ask) -> None:
    """A line for the snapshot, and for the pack with an object that only it had; it is gone from the vault's table."""
    artifacts = artifacts_of(ask, life.told["prune"]["id"])
    removed = [(row["what"], row["status"]) for row in json.loads(artifacts["prune-vault-verdicts"]["data"])]
    assert removed == [("snapshot", "removed"), ("pack", "ok"), ("pack", "removed")]
    facts = {row["what"]: row["value"] for row in json.loads(artifacts["prune-vault-vault"]["data"])}
    assert (facts["snapshots"], facts["objects"]) == (1, 2)


def test_a_fault_fails_the_flow_run_by_name(life: Life, ask: Ask) -> None:
    """State and log name object and path; the fault is the first line of the verdicts, and is in the report."""
    told = life.told["damaged"]
    faults = life.history.verdicts(VerdictFilter(run_id=life.runs("damaged")[0].id, faults=True))
    fault, pack = sorted(faults, key=lambda one: one.kind)
    assert (pack.kind, pack.status) == ("pack", "changed")
    path = f"{life.folder}/tree/{ODD}"
    assert (fault.kind, fault.status, fault.path) == ("object", "changed", path)
    state = flow_run_of(ask, told["id"])["state"]
    assert state["type"] == "FAILED"
    assert fault.name in state["message"]
    assert path in state["message"]
    lines = log_of(ask, told["id"])
    assert any(line.startswith(f"30 object {fault.name} of {path} changed") for line in lines)
    assert not [line for line in lines if "Traceback" in line]
    artifacts = artifacts_of(ask, told["id"])
    first, second = json.loads(artifacts["verify-vault-verdicts"]["data"])[:2]
    assert (first["status"], first["name"]) == ("changed", pack.name)
    # One of Prefect's UIs takes a cell for markdown, in which what is indented is code.
    assert (second["status"], second["name"], second["path"]) == ("changed", fault.name, f"    {path}")
    facts = [(row["what"], row["value"]) for row in json.loads(artifacts["verify-vault-vault"]["data"])]
    assert any(what == "NEEDS ATTENTION" and "not whole" in value for what, value in facts)
    assert "**Faults of vaults: 2**" in artifacts["verify-vault-report"]["data"]


def test_what_there_is_not_is_refused(life: Life, ask: Ask) -> None:
    """Before any work: the state is called so, there is no row and no artifact, and the log has no traceback."""
    told = life.told["refused"]
    assert (told["type"], told["name"]) == ("FAILED", "Refused")
    assert "no snapshot begins with 'no-such-snapshot'" in told["message"]
    assert life.history.run_of_flow(told["id"]) is None
    assert artifacts_of(ask, told["id"]) == {}
    lines = log_of(ask, told["id"])
    assert any(line.startswith("40 refused") and "no-such-snapshot" in line for line in lines)
    assert not [line for line in lines if "Traceback" in line or "NoneType" in line]
    assert not (life.folder / "nowhere").exists()


@pytest.fixture
def vault(on_server: dict[str, str], key_file: Path, tmp_path: Path) -> Path:
    """The vault of the test; its commands run as flow runs."""
    on_server["THREADMILL_VAULT"] = str(tmp_path / "vault")
    return Path(init_vault(on_server["THREADMILL_VAULT"], KeyFile(str(key_file)).secret()).root)


def test_a_vault_that_takes_no_more_fails_the_flow_run(
    vault: Path,
    on_server: dict[str, str],
    threadmill: Command,
    tmp_path: Path,
    ask: Ask,
) -> None:
    """The disk is full: the state says how many files are missed, the log why, without a traceback."""
    (tmp_path / "files").mkdir()
    for number in range(6):
        (tmp_path / "files" / str(number)).write_bytes(random.randbytes(20_000))
    disk = tmp_path / "disk"
    disk.mkdir()
    script = '"$0" vault init "$2" && exec "$0" encrypt "$1" --vault "$2"'
    command = ["sh", "-c", script, str(BIN / "threadmill"), str(tmp_path / "files"), str(disk / "vault")]
    ended = on_small_disk(command, on_server, str(disk), "260k")
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    run = read_json(threadmill("history", "show", "latest", "--json"))["run"]
    assert (run["status"], run["via"]) == ("failed", "prefect")
    state = flow_run_of(ask, run["flow_run_id"])["state"]
    assert (state["type"], state["name"]) == ("FAILED", "Failed")
    assert re.search(r": [1-5] new, .* [1-5] missed", state["message"])
    lines = log_of(ask, run["flow_run_id"])
    assert any(f"vault {disk}/vault: cannot be written: No space left on device" in line for line in lines)
    assert not [line for line in lines if "Traceback" in line or "NoneType" in line]


def test_a_terminated_flow_run_leaves_a_vault_that_is_whole(
    vault: Path,
    on_server: dict[str, str],
    threadmill: Command,
    tmp_path: Path,
    ask: Ask,
) -> None:
    """Some objects are there and one is being made: no snapshot has them, the row says cancelled, the rest is whole."""
    files = tmp_path / "files"
    files.mkdir()
    # By their cost the first ten are a batch.
    for number in range(15):
        (files / f"{number:02}").write_bytes(b"small")
    (files / "99").write_bytes(CONTENT[:2000])
    folder = make_hanging_openssl(tmp_path / "hangs")
    hang_on_payloads_only(folder)
    (folder / "armed").touch()
    environment = on_server | {"PATH": f"{folder}:{on_server['PATH']}"}
    command = [str(BIN / "threadmill"), "encrypt", str(files), "--backend", "openssl", "--jobs", "1"]
    with (tmp_path / "output").open("wb") as output:
        running = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=output, stderr=output)
    wait_until(lambda: list(vault.glob("packs/??/*")) or running.poll() is not None, "nothing was stored", 90)
    running.send_signal(signal.SIGTERM)
    assert running.wait(90) == 128 + signal.SIGTERM, (tmp_path / "output").read_text()
    detail = read_json(threadmill("history", "show", "latest", "--json"))
    assert (detail["run"]["status"], detail["run"]["via"], detail["snapshot"]) == ("cancelled", "prefect", None)
    assert detail["payloads"]
    assert flow_run_of(ask, detail["run"]["flow_run_id"])["state"]["type"] != "COMPLETED"
    verified = threadmill("verify", "--via", "direct")
    assert verified.returncode == 0, verified.stdout
    assert list((vault / "snapshots").iterdir()) == []
