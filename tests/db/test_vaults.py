"""Vaults on record, on both databases: what was kept, what was found, and what was proven when."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select

from db.history import History, PayloadFilter, SeriesFilter, SnapshotFilter, VerdictFilter
from db.rows import NewRun, VaultRow
from db.store import Store
from db.tables import VAULT, VERDICT
from tasks.cancel import CancelToken
from tasks.crypto.encrypt import Batch, Encryption, Limits, encrypt_batch
from tasks.crypto.inputs import Payload
from tasks.crypto.probe import choose_backend
from tasks.crypto.secret import ThrowAway
from tasks.rows import payload_rows
from tasks.suites import SUITES
from tests.support.vault_fakes import AT, START, VAULT_ID, Snapshot, Vault, Verdict, name_of, verdict_rows

RUN = NewRun("verify_vault", "direct", {}, "test")
PLACE = Vault()


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url)
    yield store
    store.close()


@pytest.fixture
def history(database_url: str, store: Store) -> Iterator[History]:
    """What is in the record of `store`."""
    history = History(database_url)
    yield history
    history.close()


@pytest.fixture
def run_id(store: Store) -> int:
    return store.start_run(RUN)


def encryptions(*names: bytes) -> tuple[Encryption, ...]:
    cancel = CancelToken()
    chosen = choose_backend("native", SUITES["modern"], "openssl", cancel)
    payloads = tuple((number, Payload("random", name, 100)) for number, name in enumerate(names))
    return encrypt_batch(Batch(0, "modern", chosen, payloads), ThrowAway(), Limits(), cancel)


def test_a_snapshot_comes_back_as_it_was(store: Store, history: History, run_id: int) -> None:
    """Every count, and sources as text for people; recorded again, it is there once."""
    written = Snapshot()
    assert store.record_snapshot(written.row(run_id))
    assert not store.record_snapshot(Snapshot(2).row(run_id))
    (read,) = history.snapshots(SnapshotFilter())
    assert read == written.row(run_id)
    assert read.sources == ("/srv/documents", "/srv/caf\\xe9")
    detail = history.detail(run_id)
    assert detail is not None
    assert detail.snapshot == read


def test_high_water_mark_never_goes_down(store: Store, history: History) -> None:
    """An older snapshot is recorded and leaves the mark; removed runs leave it too; a move is noticed."""
    marks = []
    for sequence in (1, 3, 2):
        run_id = store.start_run(RUN)
        store.record_snapshot(Snapshot(sequence, vault_path=f"/srv/{sequence}").row(run_id))
        store.finish_run(run_id, "completed")
        vault = history.vault(VAULT_ID)
        assert vault is not None
        marks.append((vault.last_sequence, vault.last_mac, vault.path))
    newest = Snapshot(3)
    assert marks == [(1, Snapshot(1).mac, "/srv/1"), (3, newest.mac, "/srv/3"), (3, newest.mac, "/srv/2")]
    assert [one.sequence for one in history.snapshots(SnapshotFilter())] == [3, 2, 1]
    store.start_run(RUN)
    assert store.remove_runs(datetime.now(UTC)) == 3
    assert history.snapshots(SnapshotFilter()) == []
    vault = history.vault(VAULT_ID)
    assert vault is not None
    assert (vault.last_sequence, vault.last_snapshot, vault.last_mac) == (3, newest.name, newest.mac)
    assert history.verify().faults == ()


def test_a_vault_is_on_record_without_a_run(store: Store, history: History) -> None:
    """From its making on; noted again, it moves, and its mark goes up and never down."""
    seen = []
    for path, sequence in (("/srv/a", None), ("/srv/b", 3), ("/srv/c", 2), ("/srv/caf\udce9", None)):
        made = Snapshot(sequence or 0)
        mark = (made.name, made.mac) if sequence else (None, None)
        store.record_vault(VaultRow(VAULT_ID, path, sequence, mark[0], mark[1], datetime.now(UTC)))
        (vault,) = history.vaults()
        seen.append((vault.path, vault.last_sequence, vault.last_mac))
    newest = Snapshot(3).mac
    assert seen == [
        ("/srv/a", None, None),
        ("/srv/b", 3, newest),
        ("/srv/c", 3, newest),
        ("/srv/caf\\udce9", 3, newest),
    ]


def test_vault_that_was_only_looked_at_has_no_mark(store: Store, history: History, run_id: int) -> None:
    """A vault that another record filled can be verified here."""
    assert history.vault(VAULT_ID) is None
    assert store.record_verdicts(verdict_rows(run_id, [Verdict(name_of(1))])) == 1
    (vault,) = history.vaults()
    assert (vault.last_sequence, vault.last_snapshot, vault.last_mac) == (None, None, None)
    assert vault == history.vault(VAULT_ID)


def test_verdicts_recorded_twice_are_there_once(store: Store, history: History, run_id: int) -> None:
    """A batch that is tried again adds what is missing; paths and errors may hold any byte."""
    verdicts = [
        Verdict(name_of(1)),
        Verdict(name_of(2), "changed", path=b"/srv/caf\xe9", error="other bytes\0"),
        Verdict("strange.txt", "foreign", kind="file", size_bytes=None),
    ]
    assert store.record_verdicts(verdict_rows(run_id, verdicts[:2], first=10)) == 2
    assert store.record_verdicts(verdict_rows(run_id, verdicts, first=10)) == 1
    assert store.record_verdicts(verdict_rows(run_id, verdicts, first=10)) == 0
    assert store.record_verdicts(verdict_rows(run_id, [], first=10)) == 0
    rows = history.verdicts(VerdictFilter(run_id=run_id))
    assert [(row.ordinal, row.name, row.status) for row in rows] == [
        (10, name_of(1), "ok"),
        (11, name_of(2), "changed"),
        (12, "strange.txt", "foreign"),
    ]
    assert (rows[1].path, rows[1].path_bytes, rows[1].error) == (
        "/srv/caf\\xe9", b"/srv/caf\xe9", "other bytes\\x00",
    )  # fmt: skip
    assert rows[1].checked_at == START + timedelta(days=1)
    counts = [(one.kind, one.status, one.count, one.size_bytes) for one in history.verdict_counts(run_id)]
    assert counts == [("file", "foreign", 1, 0), ("object", "changed", 1, 116), ("object", "ok", 1, 116)]


def test_verdicts_by_what_they_are_about(store: Store, history: History) -> None:
    """By name, by path and all below it, faults only, by kind, vault and time; newest first."""
    for day in (1, 2):
        run_id = store.start_run(RUN)
        verdicts = [
            Verdict(name_of(1), "ok" if day == 1 else "changed", day, path=b"/srv/a/b"),
            Verdict(name_of(2), "leftover", day, path=b"/srv/ab"),
            Verdict("20261126T020000Z-1", "ok", day, "snapshot"),
        ]
        store.record_verdicts(verdict_rows(run_id, verdicts, vault=PLACE if day == 1 else Vault("6b" * 16, "/mnt")))

    def found(**which: object) -> list[tuple[str, str]]:
        rows = history.verdicts(VerdictFilter(**which), limit=None)  # type: ignore[arg-type]
        return [(row.kind + str(row.run_id), row.status) for row in rows]

    assert found(name=name_of(1)) == [("object2", "changed"), ("object1", "ok")]
    assert found(path=b"/srv/a") == [("object2", "changed"), ("object1", "ok")]
    assert found(path=b"/srv/ab", run_id=1) == [("object1", "leftover")]
    assert found(faults=True) == [("object2", "changed")]
    assert found(kinds=["snapshot"]) == [("snapshot2", "ok"), ("snapshot1", "ok")]
    assert found(vault_id=VAULT_ID, kinds=["object"]) == [("object1", "leftover"), ("object1", "ok")]
    assert found(name=name_of(1), run_id=2) == [("object2", "changed")]
    assert found(since=START + timedelta(days=2), faults=True) == [("object2", "changed")]
    assert len(found(until=START + timedelta(days=2))) == 3
    assert [(row.kind, row.name, row.by, row.status) for row in history.failures(SeriesFilter())] == [
        ("verdict", name_of(1), "object in /mnt", "changed")
    ]
    assert history.failures(SeriesFilter(suites=["modern"])) == []


def test_kept_payloads_say_where(store: Store, history: History, run_id: int) -> None:
    """Good ones only; unchanged ones are no rows."""
    good, bad, same = encryptions(b"/a", b"/b", b"/c")
    batch = [good, replace(bad, status="failed", digest=None, salt=None), replace(same, status="unchanged")]
    assert store.record_payloads(payload_rows(run_id, batch, *AT)) == 2
    assert store.record_payloads(payload_rows(run_id, batch, *AT)) == 0
    rows = history.payloads(PayloadFilter(run_id=run_id))
    assert [(row.name, row.vault_id, row.kept_in) for row in rows] == [
        ("/a", VAULT_ID, "/srv/vault"),
        ("/b", None, None),
    ]
    last = history.last_digest(b"/a")
    assert last is None or last.vault_id == VAULT_ID


def test_storing_makes_another_series(store: Store, history: History) -> None:
    """Times with and without the vault are never mixed; failures count where the good ones are."""
    batch = encryptions(b"one", b"two")
    failed = replace(batch[1], status="failed", digest=None)
    for vault in ((), AT):
        run_id = store.start_run(RUN)
        store.record_payloads(payload_rows(run_id, [batch[0], failed], *vault))
        store.finish_run(run_id, "failed")
    rows = history.summaries(SeriesFilter())
    assert [(row.series.kept, row.n, row.failed, row.run_id) for row in rows] == [(False, 1, 1, 1), (True, 1, 1, 2)]
    assert len({row.series.track for row in rows}) == 2
    assert [len(history.times(run_id)) for run_id in (1, 2)] == [1, 1]
    assert {row.series.kept for row in history.slowest(SeriesFilter())} == {False, True}
    with store.transaction() as connection:
        keys = connection.exec_driver_sql("SELECT key, track FROM series ORDER BY id").all()
    assert [("kept" in row.key, "kept" in row.track) for row in keys] == [(False, False), (True, True)]


def test_proven_is_the_newest_good_verdict_in_the_order_of_the_names(store: Store, history: History) -> None:
    """Faults and other kinds prove nothing; each object comes once."""
    for day in (1, 3, 2):
        run_id = store.start_run(RUN)
        verdicts = [Verdict(name_of(number), "ok" if number % 2 else "missing", day) for number in range(20)]
        store.record_verdicts(verdict_rows(run_id, [*verdicts, Verdict("20261126T020000Z-1", "ok", day, "snapshot")]))
    proven = list(history.proven(VAULT_ID))
    assert [name for name, _ in proven] == sorted(name_of(number) for number in range(1, 20, 2))
    assert {at for _, at in proven} == {START + timedelta(days=3)}
    assert list(history.proven("no such vault")) == []


@pytest.mark.slow
def test_proven_takes_no_memory(store: Store, history: History, run_id: int) -> None:
    """Many objects stream by."""
    store.record_verdicts(verdict_rows(run_id, [Verdict(name_of(0))]))
    count = 15_000
    with store.transaction() as connection:
        vault = connection.execute(select(VAULT.c.id)).scalar_one()
        row = {"run_id": run_id, "vault_id": vault, "kind": "object", "status": "ok", "checked_at": START, "wall_ns": 1}
        for first in range(1, count, 5_000):
            rows = [row | {"ordinal": n, "name": f"{n:064x}"} for n in range(first, min(count, first + 5_000))]
            connection.execute(insert(VERDICT), rows)
    tracemalloc.start()
    try:
        assert sum(1 for _ in history.proven(VAULT_ID)) == count
        peak_bytes = tracemalloc.get_traced_memory()[1]
        assert len(history.proofs(limit=3)) == 3
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2_000_000


def test_proofs_begin_with_what_was_never_proven(store: Store, history: History) -> None:
    """Then the oldest; with path, the payload's time, and who proved it; without what was removed on purpose."""
    paths = (b"/srv/a/never", b"/srv/a/old", b"/srv/b/new", b"/srv/b/gone", b"/srv/b/changed")
    batch = encryptions(*paths)
    names = [(one.digest or b"").hex() for one in batch]
    run_id = store.start_run(NewRun("encrypt_files", "direct", {}, "test"))
    store.record_payloads(payload_rows(run_id, batch, *AT))
    stored = [
        Verdict(name, "stored", 0, path=path, begin=START + timedelta(seconds=number))
        for number, (name, path) in enumerate(zip(names, paths, strict=True))
    ]
    store.record_verdicts(verdict_rows(run_id, stored))
    first, second = store.start_run(RUN), store.start_run(RUN)
    store.record_verdicts(verdict_rows(first, [Verdict(name) for name in names[1:]]))
    verdicts = [Verdict(names[2]), Verdict(names[3], "removed"), Verdict(names[4], "changed")]
    store.record_verdicts(verdict_rows(second, [replace(one, day=2) for one in verdicts]))
    elsewhere = Verdict(name_of(7), path=b"/srv/c", day=0)
    store.record_verdicts(verdict_rows(second, [elsewhere], vault=Vault("6b" * 16, "/mnt"), first=50))
    rows = history.proofs()
    assert [(row.path, row.status, row.run_id, row.flow) for row in rows] == [
        ("/srv/a/never", "stored", None, None),
        ("/srv/a/old", "ok", first, "verify_vault"),
        ("/srv/b/changed", "changed", first, "verify_vault"),
        ("/srv/b/new", "ok", second, "verify_vault"),
        ("/srv/c", "ok", second, "verify_vault"),
    ]
    # Recorded last, by a clock that was behind.
    assert (rows[4].stored_at, rows[4].proven_at, rows[4].vault_path) == (None, START, "/mnt")
    assert (rows[0].name, rows[0].proven_at) == (names[0], None)
    assert rows[0].stored_at is not None
    assert history.proofs(never=True) == rows[:1]
    assert history.proofs(limit=2) == rows[:2]
    assert history.proofs(limit=None) == rows
    assert [row.path for row in history.proofs(path=b"/srv/a")] == ["/srv/a/never", "/srv/a/old"]
    assert history.proofs(path=b"/srv/c") == history.proofs(vault_id="6b" * 16) == [rows[4]]


def pack_of(number: int) -> bytes:
    return bytes.fromhex(name_of(number))


def pack(number: int, status: str = "ok", day: int = 1, error: str | None = None) -> Verdict:
    """A verdict on a pack."""
    return Verdict(name_of(number), status, day, "pack", error=error)


def test_packs_are_proven_as_a_whole(store: Store, history: History) -> None:
    """A pack has one line from when it is stored until it is removed, and its objects have none, but while damaged."""
    batch = encryptions(b"/srv/a/one", b"/srv/a/two", b"/srv/large")
    one, two, large = (one.digest or b"" for one in batch)
    run_id = store.start_run(NewRun("encrypt_files", "direct", {}, "test"))
    store.record_payloads(payload_rows(run_id, batch, *AT, {one: pack_of(1), two: pack_of(2)}))
    store.record_verdicts(verdict_rows(run_id, [pack(1, "stored"), pack(2, "stored"), pack(3, "stored")]))
    store.record_verdicts(verdict_rows(run_id, [Verdict(large.hex(), "stored", path=b"/srv/large")], first=9))
    assert [row.pack for row in history.payloads(PayloadFilter(run_id=run_id))] == [pack_of(1), pack_of(2), None]
    verification = store.start_run(RUN)
    lost = Verdict(one.hex(), "missing", 2, path=b"/srv/a/one")
    found = [pack(1, "changed", 2), lost, pack(2, "ok", 2), Verdict(large.hex(), day=2)]
    store.record_verdicts(verdict_rows(verification, found))
    assert {(row.kind, row.name, row.path, row.status, row.proven_at is None) for row in history.proofs()} == {
        ("pack", name_of(1), None, "changed", True),
        ("pack", name_of(2), None, "ok", False),
        ("pack", name_of(3), None, "stored", True),
        ("object", one.hex(), "/srv/a/one", "missing", True),
        ("object", large.hex(), "/srv/large", "ok", False),
    }
    assert {row.stored_at for row in history.proofs() if row.kind == "pack"} == {START + timedelta(days=1)}
    totals = history.proof_totals(VAULT_ID)
    assert (totals.packs, totals.objects, totals.never) == (3, 2, 3)
    assert totals.oldest_proof == START + timedelta(days=2)
    assert {name for name, _ in history.proven(VAULT_ID)} == {name_of(2), large.hex()}
    assert history.damaged(VAULT_ID) == {one.hex()}
    repaired = [replace(lost, status="rebuilt", day=3), pack(1, "removed", 3)]
    store.record_verdicts(verdict_rows(store.start_run(RUN), repaired))
    assert {row.name for row in history.proofs()} == {name_of(2), name_of(3), large.hex()}
    assert history.damaged(VAULT_ID) == frozenset()


def test_a_file_is_followed_to_where_prune_put_it(store: Store, history: History) -> None:
    """Its pack, or the packs that the living objects of that were written into, however often; each with a path."""
    batch = encryptions(b"/srv/a", b"/srv/b", b"/srv/c/d")
    packs = {one.digest or b"": pack_of(number) for number, one in enumerate(batch)}
    run_id = store.start_run(RUN)
    store.record_payloads(payload_rows(run_id, batch, *AT, packs))
    story = [pack(0, "stored"), pack(1, "stored"), pack(2, "stored"), pack(7)]
    story += [pack(0, "removed", 2, f"its objects are in {name_of(10)} and {name_of(11)}"), pack(10, day=2)]
    story += [pack(12, "removed", 2, f"its objects are in {name_of(11)}"), pack(1, "removed", 3)]
    story += [pack(11, day=2), pack(11, "removed", 3, f"its objects are in {name_of(12)}"), pack(12, day=1)]
    store.record_verdicts(verdict_rows(run_id, story))
    elsewhere = [pack(0), pack(10, "removed", 9)]
    store.record_verdicts(verdict_rows(run_id, elsewhere, vault=Vault("6b" * 16, "/mnt"), first=50))

    def found(path: bytes) -> set[tuple[str, str | None]]:
        return {(row.name, row.path) for row in history.proofs(path=path)}

    assert found(b"/srv/a") == {(name_of(10), "/srv/a"), (name_of(12), "/srv/a")}
    assert found(b"/srv/b") == set()
    assert found(b"/srv/c") == {(name_of(2), "/srv/c/d")}
    assert found(b"/srv") == found(b"/srv/a") | found(b"/srv/c")


def test_damaged_is_what_was_not_found_whole_or_removed_since(store: Store, history: History) -> None:
    """By each object's newest verdict, in one vault; snapshots and files are no objects."""
    assert history.damaged(VAULT_ID) == frozenset()
    stories = {
        "always whole": ("ok", "ok"),
        "repaired": ("changed", "ok"),
        "gone bad": ("ok", "changed"),
        "gone": ("changed", "missing"),
        "removed": ("unreadable", "removed"),
        "not looked at since": ("changed",),
    }
    names = {story: name_of(number) for number, story in enumerate(stories)}
    run_id = store.start_run(RUN)
    verdicts = [
        Verdict(names[story], status, day) for story, told in stories.items() for day, status in enumerate(told)
    ]
    others = [Verdict("20261126T020000Z-1", "changed", kind="snapshot"), Verdict(name_of(90), "foreign", kind="file")]
    # The clock was put back in between.
    put_back = [Verdict(name_of(91), "ok", 9), Verdict(name_of(91), "changed", 1)]
    store.record_verdicts(verdict_rows(run_id, [*verdicts, *others, *put_back]))
    elsewhere = [Verdict(names["always whole"], "changed", 9), Verdict(names["gone bad"], "ok", 9)]
    store.record_verdicts(verdict_rows(run_id, elsewhere, vault=Vault("6b" * 16, "/mnt"), first=50))
    bad = {names[story] for story in ("gone bad", "gone", "not looked at since")}
    assert history.damaged(VAULT_ID) == bad | {name_of(91)}
    assert history.damaged("6b" * 16) == {names["always whole"]}


def test_names_that_are_no_digests_do_no_harm(store: Store, history: History, run_id: int) -> None:
    """Whatever an object is called, the others are answered for."""
    store.record_verdicts(verdict_rows(run_id, [Verdict("NOT A DIGEST"), Verdict(name_of(1)), Verdict("ähm")]))
    assert {row.name for row in history.proofs()} == {"NOT A DIGEST", name_of(1), "ähm"}
