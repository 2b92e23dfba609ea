"""The vault of the example record: four nights' snapshots, and two looks at some of its objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from tests.support.generated_record import GeneratedRecord, NewPayload, at_hour, object_of
from tests.support.vault_fakes import Snapshot, Verdict

BEGUN = date(2026, 10, 28)
# What is new to the vault, night by night; None is everything.
_NEW: Sequence[Sequence[str] | None] = (None, ("ledger.csv",), (), ("ledger.csv", "letters/draft.odt"))
# What is looked at, by day: a file, which of its objects (from 0), and what is found.
_LOOKED_AT: Mapping[date, Sequence[tuple[str, int, str]]] = {
    date(2026, 10, 29): (
        ("contracts/lease.pdf", 0, "ok"),
        ("contracts/offer.pdf", 0, "ok"),
        ("letters/draft.odt", 0, "ok"),
        ("letters/reply.odt", 0, "ok"),
    ),
    date(2026, 10, 30): (("ledger.csv", 0, "ok"), ("ledger.csv", 1, "changed"), ("scans/2026.tif", 0, "ok")),
}


@dataclass
class ExampleVault:
    """Keeps files, by their sizes, of a folder."""

    record: GeneratedRecord
    folder: str
    files: Mapping[str, int]
    objects: dict[str, list[str]] = field(default_factory=dict)

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
            at_hour(day, 3), payloads=payloads, snapshot=snapshot, flow="encrypt_files", deployment="encrypt-files"
        )
        for name in new:
            self.objects.setdefault(name, []).append(object_of(run_id, f"{self.folder}/{name}"))

    def verify(self, day: date) -> None:
        """What was looked at that day, if anything."""
        verdicts = [
            Verdict(
                self.objects[name][number],
                status,
                begin=at_hour(day - timedelta(days=1), 5),
                size_bytes=self.files[name] + 16,
                path=f"{self.folder}/{name}".encode(),
                error=None if status == "ok" else f"not the bytes that it was named for: {self.folder}/{name}",
                wall_ns=self.files[name],
            )
            for name, number, status in _LOOKED_AT.get(day, ())
        ]
        if not verdicts:
            return
        faults = sum(one.status != "ok" for one in verdicts)
        self.record.run(
            at_hour(day, 5),
            verdicts=verdicts,
            flow="verify_vault",
            deployment="verify-vault",
            status="failed" if faults else "completed",
            error=f"{faults} of {len(verdicts)} objects is not as it was stored" if faults else None,
        )
