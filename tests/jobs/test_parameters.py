"""Parameters of jobs: bounds and choices are declared once, and what is refused is refused early and in one line."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pytest

from flows.errors import RequestRefused
from flows.jobs.arguments import JobParameters, help_of, hints
from flows.jobs.parameters import (
    EncryptFiles,
    EncryptPayloads,
    Maintain,
    PruneVault,
    RestoreFiles,
    RunExperiments,
    VerifyVault,
)
from flows.settings import in_force, load_settings, settings_with

ALL = (EncryptFiles, EncryptPayloads, Maintain, PruneVault, RestoreFiles, RunExperiments, VerifyVault)


@pytest.mark.parametrize("parameters", ALL)
def test_each_is_described_and_recorded(parameters: type[JobParameters]) -> None:
    """A field has a text for help and form, and a value that JSON takes."""
    for name, hint in hints(parameters).items():
        assert help_of(hint), name
    recorded = parameters().check().recorded()
    assert list(recorded) == [field.name for field in dataclasses.fields(parameters)]


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        (EncryptFiles(jobs=257), "--jobs is between 1 and 256"),
        (EncryptFiles(suites=("rot13",)), "unknown suite 'rot13'; there are: modern"),  # type: ignore[arg-type]
        (EncryptPayloads(count=0), "--count is between 1 and 1,000,000"),
        (VerifyVault(sample="0%"), "'0%' is neither a percentage nor a size"),
        (PruneVault(keep_weekly=100_001), "--keep-weekly is at most 100,000"),
        (RunExperiments(guards=("hope",)), "unknown guard 'hope'; there are: none"),  # type: ignore[arg-type]
        (RunExperiments(workers=(2, 513)), "--workers is between 1 and 512"),
        (Maintain(remove_older_than="6m"), "'6m' is not an age"),
    ],
)
def test_what_is_out_of_bounds_is_refused(parameters: JobParameters, says: str) -> None:
    """With the name of the option."""
    with pytest.raises(RequestRefused) as refused:
        parameters.check()
    assert str(refused.value).startswith(says)


def test_paths_are_recorded_as_text() -> None:
    """Bytes that are not UTF-8 too."""
    assert EncryptFiles(paths=(os.fsdecode(b"/caf\xe9"),)).recorded()["paths"] == ["/caf\\xe9"]


def test_options_are_in_force_and_not_in_the_environment() -> None:
    """A flow that a command runs in its process finds them; no child process does."""
    before = dict(os.environ)
    with in_force(settings_with(vault="/vault", key_file="/key", jobs=3)):
        settings = load_settings()
        assert (settings.vault, settings.key_file, settings.usable_jobs) == ("/vault", "/key", 3)
    assert dict(os.environ) == before
    assert load_settings().vault != "/vault"


@pytest.mark.parametrize(
    "command", ["encrypt --jobs 0", "encrypt", "verify --sample 0", "prune --keep-last -1", "experiment race --guard x"]
)
def test_a_refused_command_line_loads_little(command: str) -> None:
    """No engine, no record, no pydantic: people wait for the answer."""
    program = (
        "import sys; from flows.cli.main import main; assert main(sys.argv[1:]) == 2; "
        "print(*(name for name in sys.modules))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *command.split()], capture_output=True, text=True, check=True
    )
    loaded = set(ended.stdout.split())
    assert not loaded & {"sqlalchemy", "pydantic", "pydantic_settings", "prefect", "cryptography"}
    assert not [name for name in loaded if name.startswith(("tasks.crypto", "tasks.threads", "tasks.vault"))]
    assert len(ended.stderr.splitlines()) == 1
