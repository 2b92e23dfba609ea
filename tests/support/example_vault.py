"""The vault of the example record: four nights' snapshots, and two looks at some of its objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from tests.support.generated_record import GeneratedRecord, NewPayload, at_hour, is_packed, object_of, pack_of
from tests.support.vault_fakes import Snapshot, Verdict

BEGUN = date(2026, 10, 28)
# What is new to the vault, night by night; None is everything.
_NEW: Sequence[Sequence[str] | None] = (None, ("ledger.csv",), (), ("ledger.csv", "letters/draft.odt"))
# Large objects that are looked at, by day: a file, and what is found of its first object.
_LOOKED_AT: Mapping[date, Sequence[tuple[str, str]]] = {
    date(2026, 10, 29): (("contracts/lease.pdf", "ok"), ("contracts/offer.pdf", "ok")),
    date(2026, 10, 30): (("scans/2026.tif", "ok"),),
}
# The pack of a night (from 0) that is looked at, by day, and the small file whose object in it is damaged.
_PACKS: Mapping[date, tuple[int, str | None]] = {date(2026, 10, 29): (0, None), date(2026, 10, 30): (1, "ledger.csv")}


@dataclass
class ExampleVault:
    """Keeps files, by their sizes, of a folder."""

    record: GeneratedRecord
    folder: str
    files: Mapping[str, int]
    objects: dict[str, list[str]] = field(default_factory=dict)
    packs: list[tuple[str, int]] = field(default_factory=list)

    def keep(self, day: date) -> None:
        """The night's snapshot, once there is a vault."""
        night = (day - BEGUN).days
        if night < 0:
            return
        wanted = _NEW[night]
        new = {name: size for name, size in self.files.items() if wanted is None or name in wanted}
        payloads = [
            NewPayload(f"{self.folder}/{name}", 300_000 + size, size, backend="native", detail="cryptography 50")
            for name, size in new.items()
        ]
        snapshot = Snapshot(
            night + 1,
            at_hour(BEGUN - timedelta(days=1), 3),
            sources=(self.folder.encode(),),
            entries=len(self.files) + 4,
            files=len(self.files),
            new=len(new),
            unchanged=len(self.files) - len(new),
            skipped=0,
            marked=0,
            size_bytes=sum(self.files.values()),
            stored_bytes=sum(size + 16 for size in new.values()),
        )
        run_id = self.record.run(
            at_hour(day, 3),
            payloads=payloads,
            snapshot=snapshot,
            packed=True,
            flow="encrypt_files",
            deployment="encrypt-files",
        )
        small = [size for one, size in zip(payloads, new.values(), strict=True) if is_packed(one)]
        self.packs.append((pack_of(run_id), sum(small)))
        for name in new:
            self.objects.setdefault(name, []).append(object_of(run_id, f"{self.folder}/{name}"))

    def verify(self, day: date) -> None:
        """What was looked at that day, if anything."""
        begin = at_hour(day - timedelta(days=1), 5)
        verdicts = []
        if day in _PACKS:
            night, damaged = _PACKS[day]
            (pack, size), why = self.packs[night], "its bytes do not fit its name; objects that are damaged: 1"
            status = "ok" if damaged is None else "changed"
            error = None if damaged is None else why
            verdicts.append(Verdict(pack, status, 1, "pack", size_bytes=size, error=error, wall_ns=size, begin=begin))
        for name, status in _LOOKED_AT.get(day, ()):
            of, size, path = self.objects[name][0], self.files[name], f"{self.folder}/{name}".encode()
            verdicts.append(Verdict(of, status, size_bytes=size + 16, path=path, wall_ns=size, begin=begin))
        if day in _PACKS and damaged is not None:
            lost = f"{self.folder}/{damaged}"
            error = f"it has the content of {lost}"
            of = self.objects[damaged][night]
            verdicts.append(Verdict(of, "changed", size_bytes=None, path=lost.encode(), error=error, begin=begin))
        if not verdicts:
            return
        faults = sum(one.status != "ok" for one in verdicts)
        self.record.run(
            at_hour(day, 5),
            verdicts=verdicts,
            flow="verify_vault",
            deployment="verify-vault",
            status="failed" if faults else "completed",
            error=f"FAULTS: {faults}" if faults else None,
        )
