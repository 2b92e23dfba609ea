"""The flows that look after a vault and the record. Vault and key file are settings, never parameters."""

from __future__ import annotations

from flows.jobs.maintain import maintenance_job
from flows.jobs.parameters import Maintain, PruneVault, RestoreFiles, VerifyVault
from flows.jobs.restore import restoration_job
from flows.jobs.run import Job
from flows.jobs.upkeep import pruning_job, verification_job
from flows.orchestration.flow_run import job_flow, timed_name
from flows.settings import Settings


@job_flow(VerifyVault, timed_name)
def verify_vault(parameters: VerifyVault, settings: Settings) -> Job:
    """Check the vault's parameters, snapshots and objects (THREADMILL_VAULT), and record a verdict on each.

    Without THREADMILL_KEY_FILE digests are checked, and the MACs of snapshots are not.
    """
    return verification_job(parameters, settings)


@job_flow(PruneVault, timed_name, keep_daily=7, keep_weekly=5, keep_monthly=12)
def prune_vault(parameters: PruneVault, settings: Settings) -> Job:
    """Remove snapshots that the policy does not keep from the vault (THREADMILL_VAULT), and what only they named."""
    return pruning_job(parameters, settings)


@job_flow(RestoreFiles, timed_name, required=("target",))
def restore_files(parameters: RestoreFiles, settings: Settings) -> Job:
    """Bring files back from the vault (THREADMILL_VAULT); each is proven before it has its name."""
    return restoration_job(parameters, settings)


@job_flow(Maintain, timed_name)
def maintain(parameters: Maintain, settings: Settings) -> Job:
    """Roll up closed days, check sealed runs against the ledger, remove old runs if asked, optimise the database."""
    return maintenance_job(parameters, settings)
