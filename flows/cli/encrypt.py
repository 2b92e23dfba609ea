"""`threadmill encrypt`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from db.history import History, PayloadFilter
from db.rows import PayloadRow
from flows.cli.options import Flag, Json, Names, Patterns, Via, Whole
from flows.cli.progress import ProgressReporter
from flows.cli.via import by_prefect, exit_code_of, run_by_prefect, run_directly
from flows.errors import RequestRefused
from flows.jobs.encryption import encrypt as encrypt_job
from flows.jobs.names import check_backends, check_suites
from flows.jobs.request import EncryptionRequest, RandomSpec, check_paths, need_key_file, vault_request
from flows.jobs.run import Job
from flows.settings import Settings, load_settings
from flows.show.tables import PAYLOADS
from flows.show.terminal import print_json, print_table, say
from flows.text import plural, size
from tasks.crypto.encrypt import Limits
from tasks.crypto.secret import ThrowAway

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

_SHOWN = 20


def encrypt(
    # Hyphens for `-` itself; an option that is mistyped is then a path at which there is nothing.
    *paths: Annotated[str, Parameter(allow_leading_hyphen=True)],
    random: Names = [],  # noqa: B006 - never changed
    suite: Names = ["modern"],  # noqa: B006 - never changed
    backend: Names = ["auto"],  # noqa: B006 - never changed
    jobs: Whole | None = None,
    key_file: str | None = None,
    allow_legacy_size: Flag = False,
    vault: str | None = None,
    exclude: Patterns = [],  # noqa: B006 - never changed
    rehash: Flag = False,
    dry_run: Flag = False,
    discard: Flag = False,
    via: Via = None,
    json: Json = False,
) -> int:
    """Encrypt and hash payloads, and record the digest of each ciphertext.

    The ciphertext is discarded, or kept in a vault. A vault takes files and folders: only what is new or changed since
    its last snapshot of the same paths is encrypted. A vault that is not there is made. --json prints the run with its
    payloads, as history show does.

    Exit codes: 0 done, 1 a payload failed, 2 refused before any work, 3 a source was unreadable or changed while it was
    read.

    Examples: threadmill encrypt --random 4KiBx100 and threadmill encrypt FOLDER --key-file KEY --vault VAULT

    Args:
        paths: files and folders (all files below them), or - for standard input
        random: encrypt random payloads with a throw-away key: SIZExCOUNT, such as 100x3 or 4KiBx1000
        suite: modern, modern-blake2, chacha, cbc, classic; several are run one after the other
        backend: auto (openssl where it can run the suite), openssl, native; several are run one after the other
        jobs: chains at once (default: usable CPUs)
        key_file: made by threadmill keygen; default: THREADMILL_KEY_FILE
        allow_legacy_size: let the suite classic take payloads over 8 MiB
        vault: folder to keep the ciphertext in; default: THREADMILL_VAULT
        exclude: what to leave out of the vault, in the syntax of gitignore, relative to each path; may be repeated
        rehash: read files that look unchanged too, and encrypt those whose content has changed
        dry_run: say what would be encrypted into the vault, and do nothing
        discard: keep nothing, although THREADMILL_VAULT is set
    """
    settings = with_overrides(load_settings(), jobs, key_file, vault)
    request = _request(settings, list(paths), random, suite, backend, allow_legacy_size)
    if not (discard or random or (paths == ("-",) and vault is None)):
        kept = vault_request(settings.vault, paths, request.suites, request.backends, exclude, rehash=rehash)
        request = replace(request, vault=kept)
    elif vault is not None or exclude or rehash:
        raise RequestRefused("a vault keeps files and folders; leave out --vault, --exclude and --rehash for this")
    if dry_run:
        return _print_preview(request, json=json)
    progress = ProgressReporter(quiet=json)
    if by_prefect("direct" if via is None and "-" in paths else via):
        if "-" in paths:
            raise RequestRefused("standard input can be read only with --via direct")
        done = run_by_prefect(settings, progress, lambda: _call_flow(request, discard=discard))
    else:
        flow = "encrypt_files" if request.random is None else "encrypt_payloads"
        done = run_directly(flow, settings, progress, _job(request))
    history = settings.open_history()
    code = exit_code_of(history, done.run_id)
    if json:
        print_json(history.detail(done.run_id))
    else:
        _print_outcome(history, done.run_id)
        if request.vault is not None:
            say(f"vault {request.vault.path}: {done.message}")
    return code


def _job(request: EncryptionRequest) -> Job:
    if request.vault is None:
        return partial(encrypt_job, request)
    # Late: a run without a vault loads nothing of it.
    from flows.jobs.keep import encrypt_into_vault

    return partial(encrypt_into_vault, request, request.vault)


def _print_preview(request: EncryptionRequest, *, json: bool) -> int:
    if request.vault is None:
        raise RequestRefused("--dry-run is for a vault: give --vault DIR or set THREADMILL_VAULT")
    from flows.jobs.keep import preview

    found = preview(request, request.vault)
    if json:
        print_json(found)
        return 0
    since = f"since snapshot {found.previous}" if found.previous else "there is no snapshot of these paths"
    say(
        f"{plural(found.to_do, 'file')} to encrypt, {size(found.to_do_bytes)}; {found.unchanged:,} unchanged, "
        f"{found.skipped:,} skipped ({since}); nothing was done"
    )
    return 0


def with_overrides(
    settings: Settings, jobs: int | None = None, key_file: str | None = None, vault: str | None = None
) -> Settings:
    """Options over the environment; into the environment, where a flow run in this process finds them too.

    Raises:
        RequestRefused: a number that makes no sense, or an empty path. In the environment, empty is as good as unset.
    """
    for option, path in (("--key-file", key_file), ("--vault", vault)):
        # Of a shell variable that is not set: what was to be kept would be kept nowhere, and nobody told.
        if path == "":
            raise RequestRefused(f"{option} is empty: give a path, or leave it out")
    if jobs is not None and not 1 <= jobs <= 256:
        raise RequestRefused("--jobs is between 1 and 256")
    given = {"KEY_FILE": key_file, "JOBS": jobs, "VAULT": vault}
    changed = {f"THREADMILL_{name}": str(value) for name, value in given.items() if value is not None}
    os.environ.update(changed)
    return load_settings() if changed else settings


def _request(
    settings: Settings, paths: list[str], random: list[str], suite: list[str], backend: list[str], legacy: bool
) -> EncryptionRequest:
    if paths and random:
        raise RequestRefused("give either paths or --random, not both")
    if len(random) > 1:
        raise RequestRefused("give --random once")
    # Random payloads are not kept, so neither is what they were encrypted with.
    named = () if random else check_paths(paths)
    key = ThrowAway() if random else need_key_file(settings.key_file)
    return EncryptionRequest(
        key,
        paths=named,
        random=RandomSpec.parse(random[0]) if random else None,
        suites=check_suites(suite),
        backends=check_backends(backend),
        openssl=settings.openssl,
        jobs=settings.usable_jobs,
        limits=Limits(settings.chain_timeout_s, legacy),
    )


def _call_flow(request: EncryptionRequest, *, discard: bool) -> State[None]:
    from flows.encryption import encrypt_files, encrypt_payloads

    # Lists, as the UI's form gives them; the key file and the rest of the settings are in the environment.
    shared = {
        "suites": list(request.suites),
        "backends": list(request.backends),
        "jobs": request.jobs,
        "allow_legacy_size": request.limits.allow_legacy_size,
    }
    # Typed as a state of a state, which it is not at run time.
    if request.random is None:
        kept = request.vault
        vault = {"exclude": list(kept.excludes) if kept else [], "rehash": bool(kept and kept.rehash)}
        paths = list(request.paths)
        return encrypt_files(paths, **shared, **vault, discard=discard, return_state=True)  # type: ignore[return-value]
    random = {"size_bytes": request.random.size_bytes, "count": request.random.count}
    return encrypt_payloads(**random, **shared, return_state=True)  # type: ignore[return-value]


def _print_outcome(history: History, run_id: int) -> None:
    """Print the first payloads with their digests, and the counts."""
    shown = history.payloads(PayloadFilter(run_id=run_id), limit=_SHOWN)
    if shown:
        print_table(PAYLOADS.fill(shown, f"run {run_id}", without=("run", "started", "stages")))
    print_backends(shown)
    counts = history.counts(run_id)
    total = sum(count.count for count in counts)
    each = ", ".join(f"{one.count:,} {one.status}" + (f" ({one.cause})" if one.cause else "") for one in counts)
    say(f"{plural(total, 'payload')}: {each}" if counts else "nothing had to be encrypted")
    if total > len(shown):
        say(f"the first {len(shown)} are shown; all of them: threadmill history show {run_id} --limit {total}")
    say(f"recorded in {history.where}")


def print_backends(payloads: Sequence[PayloadRow]) -> None:
    """What ran, in which version; and why, where native took over."""
    for backend, detail, reason in dict.fromkeys(
        (row.backend, row.backend_detail, row.backend_reason) for row in payloads
    ):
        say(f"{backend}: {detail}" + (f"; {reason}" if reason.startswith("native took over") else ""))
