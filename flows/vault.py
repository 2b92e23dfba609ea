"""The flows that look after a vault: verify, prune, restore. Vault and key file are settings, never parameters."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Annotated

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.jobs.request import need_key_file, need_vault
from flows.jobs.restore import RestorationRequest, restore
from flows.jobs.vault import PruningRequest, prune
from flows.jobs.verify import VerificationRequest, verify
from flows.orchestration import run_in_flow
from tasks.crypto.secret import KeyFile
from tasks.vault.prune import Policy

Count = Annotated[int, Field(ge=0, le=100_000)]
Sample = Annotated[int, Field(ge=1)]


def _run_name() -> str:
    return f"{runtime.flow_run.flow_name} {datetime.now(UTC):%Y-%m-%dT%H:%M}"


@flow(name="verify-vault", flow_run_name=_run_name)
def verify_vault(sample: Sample | None = None, snapshots_only: bool = False) -> State[None]:
    """Check the vault's parameters, snapshots and objects (THREADMILL_VAULT), and record a verdict on each.

    Without THREADMILL_KEY_FILE digests are checked, and the MACs of snapshots are not.

    Args:
        sample: so many objects, those proven longest ago; empty for all
        snapshots_only: look at all but the content of objects
    """
    return run_in_flow(
        "verify_vault",
        lambda settings: partial(
            verify,
            VerificationRequest(
                need_vault(settings.vault),
                KeyFile(settings.key_file) if settings.key_file else None,
                sample,
                snapshots_only,
                settings.usable_jobs,
            ),
        ),
    )


@flow(name="prune-vault", flow_run_name=_run_name)
def prune_vault(
    keep_last: Count = 0, keep_daily: Count = 7, keep_weekly: Count = 5, keep_monthly: Count = 12
) -> State[None]:
    """Remove snapshots that the policy does not keep from the vault (THREADMILL_VAULT), and what only they named.

    Args:
        keep_last: how many of the newest snapshots of each set of paths stay
        keep_daily: of so many days the newest snapshot stays
        keep_weekly: of so many weeks the newest snapshot stays
        keep_monthly: of so many months the newest snapshot stays
    """
    policy = Policy(keep_last, keep_daily, keep_weekly, keep_monthly)
    return run_in_flow(
        "prune_vault",
        lambda settings: partial(
            prune, PruningRequest(need_vault(settings.vault), need_key_file(settings.key_file), policy)
        ),
    )


# The list is the default that the UI's form shows; Prefect copies it for every run.
@flow(name="restore-files", flow_run_name=_run_name)
def restore_files(
    target: str,
    snapshot: str = "latest",
    paths: list[str] = [],  # noqa: B006
    overwrite: bool = False,
) -> State[None]:
    """Bring files back from the vault (THREADMILL_VAULT); each is proven before it has its name.

    Args:
        target: folder on the machine that runs the flow; made if it is not there
        snapshot: latest, or the beginning of a snapshot's name
        paths: only these and what is below them; empty for all
        overwrite: replace files and links that are there
    """
    return run_in_flow(
        "restore_files",
        lambda settings: partial(
            restore,
            RestorationRequest(
                need_vault(settings.vault),
                need_key_file(settings.key_file),
                snapshot,
                target,
                tuple(paths),
                overwrite,
            ),
        ),
    )
