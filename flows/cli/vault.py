"""`threadmill vault init|adopt`, and `verify|restore|prune|maintain`: jobs that look after a vault and the record."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter

from flows.jobs.parameters import Maintain, PruneVault, RestoreFiles, VerifyVault
from flows.option_types import Flag, Json, KeyOption, VaultOption, Via, Whole
from flows.settings import Settings, load_settings, settings_with
from flows.show.tables import VAULT_SNAPSHOTS
from flows.show.terminal import print_json, print_table, say
from flows.text import plural, shown_path, size


def init(folder: str, /, *, random_salts: Flag = False, another: Flag = False, key_file: str | None = None) -> int:
    """Make a vault in a folder that is empty or not there.

    The vault opens with this key file and no other. Where the record knows a vault that is not there now, its disk may
    not be mounted: there --another is needed.

    Exit codes: 0 made, 2 refused: there is something in the folder, the folder above it is not there, the record knows
    a vault there, or there is no usable key file.

    Example: threadmill vault init VAULT --key-file KEY

    Args:
        folder: made if it is not there
        random_salts: store equal files once for each, so that nobody sees which files are equal
        another: make it also where the record knows a vault that is not there now
        key_file: made by threadmill keygen; default: THREADMILL_KEY_FILE
    """
    settings = settings_with(None, key_file)
    from flows.jobs.arguments import need_key_file, need_path
    from flows.jobs.identity import need_free, row_of
    from tasks.vault.vault import init_vault

    path, key = need_path(folder), need_key_file(settings.key_file)
    if not another:
        need_free(path, settings.open_history())
    store = settings.open_store()
    made = init_vault(path, key.secret(), random_salts=random_salts)
    store.record_vault(row_of(made))
    say(f"made {shown_path(made.root)}. It opens with this key file alone: keep a copy of it elsewhere.")
    return 0


def adopt(folder: str, /, *, key_file: str | None = None) -> int:
    """Take a vault into use at its path: a copy of a vault, or another one than the record knows there.

    The record then knows a copy by an id of its own, so that both can be used side by side; snapshots and objects stay
    as they are. When an object was proven, and what else is on record of the vault, does not count for the copy.

    Exit codes: 0 done, 2 refused: no vault is there, another threadmill uses it, its newest snapshot is damaged, or it
    cannot be written.

    Example: threadmill vault adopt COPY --key-file KEY

    Args:
        folder: of the copy, or of the other vault
        key_file: the one that the vault was made with; default: THREADMILL_KEY_FILE
    """
    settings = settings_with(None, key_file)
    from flows.jobs import identity
    from flows.jobs.arguments import need_key_file, need_path

    path, secret = need_path(folder), need_key_file(settings.key_file).secret()
    vault, new = identity.adopt(path, secret, settings.open_history(), settings.open_store())
    said = f"is a vault of its own now, {vault.instance} on record" if new else "is on record here now"
    say(f"{shown_path(vault.root)} {said}")
    return 0


def verify(
    *,
    options: Annotated[VerifyVault, Parameter(name="*")] = VerifyVault(),
    vault: VaultOption = None,
    key_file: KeyOption = None,
    jobs: Whole | None = None,
    via: Via = None,
    json: Json = False,
) -> int:
    """Check that a vault is whole.

    Every byte of packs and large objects is read and hashed, every snapshot is authenticated, and files that do not
    belong are found. Each verdict goes on record. Without a key file digests are checked, and the MACs of snapshots are
    not. --json prints the run and its result.

    Exit codes: 0 whole, 1 something is not as it was written, 2 refused before any work.

    Example: threadmill verify --vault VAULT --key-file KEY --sample 10%

    Args:
        jobs: objects at once (default: usable CPUs)
    """
    settings = settings_with(vault, key_file, jobs)
    from flows.cli.run import run_and_print
    from flows.jobs.upkeep import verification_job

    job = verification_job(options.check(), settings)
    return run_and_print("flows.vault:verify_vault", options, job, settings, via, json=json)


def restore(
    snapshot: str,
    target: str,
    /,
    *paths: str,
    options: Annotated[RestoreFiles, Parameter(name="*")] = RestoreFiles(),
    vault: VaultOption = None,
    key_file: KeyOption = None,
    via: Via = None,
    json: Json = False,
) -> int:
    """Bring files back from a vault.

    Modes, times, links and empty folders come back too. Each file lies below the target by the whole path that it had.
    A file gets its name there once its digest has been checked, and replaces nothing; a file that is there already and
    is the same counts as restored. --json prints the run and its result.

    Exit codes: 0 everything is there, 1 something could not be restored, 2 refused before any work.

    Example: threadmill restore latest TARGET --vault VAULT --key-file KEY

    Args:
        snapshot: latest (of paths: the newest that has them), or the beginning of a name (see threadmill snapshots)
        target: folder, made if it is not there; / for the places where the files were
        paths: only these and what is below them, as they were when they were encrypted
    """
    settings = settings_with(vault, key_file)
    from flows.cli.run import run_and_print
    from flows.jobs.arguments import need_path
    from flows.jobs.restore import restoration_job

    given = replace(options, snapshot=snapshot, target=need_path(target), paths=tuple(map(need_path, paths)))
    job = restoration_job(given, settings)
    return run_and_print("flows.vault:restore_files", given, job, settings, via, json=json)


def prune(
    *,
    options: Annotated[PruneVault, Parameter(name="*")] = PruneVault(),
    dry_run: Flag = False,
    vault: VaultOption = None,
    key_file: KeyOption = None,
    via: Via = None,
    json: Json = False,
) -> int:
    """Remove snapshots that no rule keeps from a vault.

    Packs and objects that no other snapshot needs are removed with them; other packs are rewritten until few dead bytes
    are left (--max-unused), and ten or more small ones are merged. Backups go on meanwhile. Each set of paths is looked
    at by itself, and its newest snapshot always stays. Days, weeks (ISO) and months are in UTC. A clock that is behind
    the newest snapshot, or over 35 days beyond it, is refused. --json prints the run and its result.

    Exit codes: 0 done, 1 the vault could not be pruned, 2 refused before any work.

    Example: threadmill prune --vault VAULT --key-file KEY --keep-daily 7 --keep-weekly 5 --dry-run

    Args:
        dry_run: say what would be removed, and remove nothing
    """
    settings = settings_with(vault, key_file)
    options.check()
    from flows.cli.run import run_and_print
    from flows.jobs.upkeep import pruning_job

    if dry_run:
        return _print_preview(options, settings, json=json)
    job = pruning_job(options, settings)
    return run_and_print("flows.vault:prune_vault", options, job, settings, via, json=json)


def _print_preview(parameters: PruneVault, settings: Settings, *, json: bool) -> int:
    from flows.cli.snapshots import snapshot_line
    from flows.jobs.upkeep import preview_prune
    from tasks.cancel import CancelToken

    removal = preview_prune(parameters, settings, settings.open_history(), CancelToken())
    rewrites = len(removal.rewrites) + len(removal.merges)
    if json:
        print_json(
            {
                "remove": [one.name for one in removal.snapshots],
                "keep": removal.kept,
                "packs": len(removal.packs),
                "rewrite": rewrites,
                "objects": removal.objects,
                "freed_bytes": removal.freed_bytes,
            }
        )
        return 0
    if removal.snapshots:
        print_table(VAULT_SNAPSHOTS.fill((snapshot_line(one) for one in removal.snapshots), "snapshots that would go"))
    say(
        f"{plural(len(removal.snapshots), 'snapshot')}, {plural(len(removal.packs), 'pack')} and "
        f"{plural(removal.objects, 'large object')} would go, {plural(rewrites, 'pack')} would be "
        f"rewritten ({size(removal.freed_bytes)} freed), {plural(removal.kept, 'snapshot')} would stay; "
        "nothing was done"
    )
    return 0


def maintain(
    *, options: Annotated[Maintain, Parameter(name="*")] = Maintain(), via: Via = None, json: Json = False
) -> int:
    """Roll up, verify and optimise the record, and remove old runs if asked.

    Closed days are summed up, and every sealed run is checked against the ledger. The summaries of removed runs stay on
    record, and so does their ledger. The newest run always stays. A clock that is behind the newest run, or would make
    runs too old by a jump, is refused. --json prints the run and its result.

    Exit codes: 0 done, 1 a run is not as it was sealed, 2 refused before any work.

    Example: threadmill maintain --remove-older-than 365d
    """
    settings = load_settings()
    from flows.cli.run import run_and_print
    from flows.jobs.maintain import maintenance_job

    job = maintenance_job(options, settings)
    return run_and_print("flows.vault:maintain", options, job, settings, via, json=json)
