"""The table: what was done, how often, what had to hold, and how often it did."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Row:
    """One kind of mishap. `missed` says where it did not hold, so that it can be done again."""

    done: str
    holds: str
    times: int = 0
    missed: list[str] = field(default_factory=list)
    skipped: str | None = None

    def add(self, where: str, *, held: bool) -> None:
        """Once more."""
        self.times += 1
        if not held:
            self.missed.append(where)

    def line(self) -> str:
        """As a line of a table in Markdown."""
        held = f"skipped: {self.skipped}" if self.skipped else f"{self.times - len(self.missed):,}"
        return f"| {self.done} | {self.times:,} | {self.holds} | {held} |"


HEAD = "| what was done | times | what has to hold | held |\n| --- | --- | --- | --- |"
