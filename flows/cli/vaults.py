"""`threadmill verify|restore|prune`: what runs on a vault."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from db.history import History
from flows.cli.done import print_done
from flows.cli.encrypt import with_overrides
from flows.cli.options import Flag, Json, Via, Whole
from flows.cli.progress import ProgressReporter
from flows.cli.via import Done, by_prefect, run_by_prefect, run_directly
from flows.errors import RequestRefused
from flows.jobs.request import need_key_file, need_path, need_vault
from flows.jobs.restore import RestorationRequest
from flows.jobs.restore import restore as restore_job
from flows.jobs.vault import PruningRequest, preview_prune
from flows.jobs.vault import prune as prune_job
from flows.jobs.verify import VerificationRequest
from flows.jobs.verify import verify as verify_job
from flows.settings import Settings, load_settings
from flows.show.tables import VAULT_SNAPSHOTS
from flows.show.terminal import print_json, print_table, say
from flows.text import plural
from tasks.cancel import CancelToken
from tasks.crypto.secret import KeyFile
from tasks.vault.prune import Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect.client.schemas.objects import State

    from flows.jobs.run import Job

VaultOption = Annotated[str | None, Parameter(help="folder of the vault; default: THREADMILL_VAULT")]
KeyOption = Annotated[str | None, Parameter(help="the one that it was made with; default: THREADMILL_KEY_FILE")]


def verify(
    *,
    sample: Whole | None = None,
    snapshots: Flag = False,
    vault: VaultOption = None,
    key_file: KeyOption = None,
    jobs: Whole | None = None,
    via: Via = None,
    json: Json = False,
) -> int:
    """Check that a vault is whole.

    Every object is hashed again, every snapshot is authenticated, and files that do not belong are found. Each verdict
    goes on record. Without a key file the digests of objects are checked, and the MACs of snapshots are not. --json
    prints the run and what it came to.

    Exit codes: 0 whole, 1 something is not as it was written, 2 refused before any work.

    Example: threadmill verify --vault VAULT --key-file KEY --sample 1000

    Args:
        sample: check only this many objects, the ones that were verified least recently
        snapshots: check everything but the content of objects
        jobs: objects at once (default: usable CPUs)
    """
    if snapshots and sample is not None:
        raise RequestRefused("--sample is of objects, and --snapshots leaves them all out: give one of the two")
    settings = with_overrides(load_settings(), jobs, key_file, vault)
    key = KeyFile(settings.key_file) if settings.key_file else None
    request = VerificationRequest(need_vault(settings.vault), key, sample, snapshots, settings.usable_jobs)

    def call_flow() -> State[None]:
        from flows.vault import verify_vault

        return verify_vault(sample, snapshots, return_state=True)  # type: ignore[return-value] # a state of a state

    return _run("verify_vault", settings, partial(verify_job, request), call_flow, via, json=json)


def restore(
    snapshot: str,
    target: str,
    /,
    *paths: str,
    overwrite: Flag = False,
    vault: VaultOption = None,
    key_file: KeyOption = None,
    via: Via = None,
    json: Json = False,
) -> int:
    """Bring files back from a vault.

    Modes, times, links and empty folders come back too. Each file lies below the target by the whole path that it had.
    A file gets its name there once its digest has been checked, and replaces nothing; a file that is there already and
    is the same counts as restored. --json prints the run and what it came to.

    Exit codes: 0 everything is there, 1 something could not be restored, 2 refused before any work.

    Example: threadmill restore latest TARGET --vault VAULT --key-file KEY

    Args:
        snapshot: latest, or the beginning of a snapshot's name (see threadmill snapshots)
        target: folder, made if it is not there
        paths: only these and what is below them, as they were when they were encrypted
        overwrite: replace files and links that are there
    """
    settings = with_overrides(load_settings(), None, key_file, vault)
    target, paths = need_path(target), tuple(map(need_path, paths))
    request = RestorationRequest(
        need_vault(settings.vault), need_key_file(settings.key_file), snapshot, target, paths, overwrite
    )

    def call_flow() -> State[None]:
        from flows.vault import restore_files

        return restore_files(target, snapshot, list(paths), overwrite, return_state=True)  # type: ignore[return-value]

    return _run("restore_files", settings, partial(restore_job, request), call_flow, via, json=json)


def prune(
    *,
    keep_last: Whole = 0,
    keep_daily: Whole = 0,
    keep_weekly: Whole = 0,
    keep_monthly: Whole = 0,
    dry_run: Flag = False,
    vault: VaultOption = None,
    key_file: KeyOption = None,
    via: Via = None,
    json: Json = False,
) -> int:
    """Remove snapshots that no rule keeps from a vault.

    Objects that only these snapshots named are removed with them. Each set of paths is looked at by itself, and its
    newest snapshot always stays. Days, weeks (ISO) and months are in UTC. --json prints the run and what it came to.

    Exit codes: 0 done, 1 the vault could not be pruned, 2 refused before any work.

    Example: threadmill prune --vault VAULT --key-file KEY --keep-daily 7 --keep-weekly 5 --dry-run

    Args:
        keep_last: keep the newest N snapshots
        keep_daily: keep the newest snapshot of each of the last N days that have one
        keep_weekly: keep the newest snapshot of each of the last N weeks that have one
        keep_monthly: keep the newest snapshot of each of the last N months that have one
        dry_run: say what would be removed, and remove nothing
    """
    settings = with_overrides(load_settings(), None, key_file, vault)
    policy = Policy(keep_last, keep_daily, keep_weekly, keep_monthly)
    request = PruningRequest(need_vault(settings.vault), need_key_file(settings.key_file), policy)
    if dry_run:
        return _print_preview(request, settings.open_history(), json=json)

    def call_flow() -> State[None]:
        from flows.vault import prune_vault

        kept = (keep_last, keep_daily, keep_weekly, keep_monthly)
        return prune_vault(*kept, return_state=True)  # type: ignore[return-value]

    return _run("prune_vault", settings, partial(prune_job, request), call_flow, via, json=json)


def _run(
    flow: str, settings: Settings, job: Job, call_flow: Callable[[], State[None]], via: str | None, *, json: bool
) -> int:
    progress = ProgressReporter(quiet=json)
    done: Done
    if by_prefect(via):
        done = run_by_prefect(settings, progress, call_flow)
    else:
        done = run_directly(flow, settings, progress, job)
    return print_done(settings.open_history(), done, json=json)


def _print_preview(request: PruningRequest, history: History, *, json: bool) -> int:
    # Here, because that module takes options from this one.
    from flows.cli.snapshots import snapshot_line

    removal = preview_prune(request, history, CancelToken())
    if json:
        print_json(
            {"remove": [one.name for one in removal.snapshots], "keep": removal.kept, "objects": removal.objects}
        )
        return 0
    if removal.snapshots:
        print_table(VAULT_SNAPSHOTS.fill((snapshot_line(one) for one in removal.snapshots), "snapshots that would go"))
    say(
        f"{plural(len(removal.snapshots), 'snapshot')} and {plural(removal.objects, 'object')} would go, "
        f"{plural(removal.kept, 'snapshot')} would stay; nothing was done"
    )
    return 0
