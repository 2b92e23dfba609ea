"""`threadmill encrypt`, `check` and `keygen`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.errors import RequestRefused
from flows.jobs.arguments import check_paths, need_key_file, need_path
from flows.jobs.parameters import EncryptFiles, EncryptPayloads
from flows.option_types import Flag, Json, Names, Via, Whole
from flows.settings import Settings, settings_with
from flows.show.tables import CHECKED, PAYLOADS
from flows.show.terminal import complain, conclude, hint, print_json, print_table, say
from flows.text import plural, shown_path, size
from tasks.cancel import CancelToken

if TYPE_CHECKING:
    from db.history import History
    from db.rows import PayloadRow

_DEFAULTS = EncryptFiles()
_SHOWN = 20

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_RANDOM = re.compile(r"(\d{1,15})\s*(?:([kmg])(?:i?b)?|b)?\s*x\s*(\d{1,15})", re.IGNORECASE)
# Random payloads lie in memory while they are encrypted.
_RANDOM_BYTES = 1 << 30
_RANDOM_COUNT = 1_000_000

_NOTHING_KEPT = {
    False: "nothing was kept: digests are on record, the ciphertext is discarded; to keep it: threadmill vault init "
    "DIR, then encrypt with --vault DIR (on purpose: --discard)",
    True: "nothing was kept: the digest is on record, the ciphertext is discarded; a vault keeps files and folders, "
    "not standard input (on purpose: --discard)",
}


def encrypt(
    # Hyphens for `-` itself; an option that is mistyped is then a path at which there is nothing.
    *paths: Annotated[str, Parameter(allow_leading_hyphen=True)],
    random: Names = [],
    key_file: str | None = None,
    vault: str | None = None,
    options: Annotated[EncryptFiles, Parameter(name="*")] = _DEFAULTS,
    dry_run: Flag = False,
    via: Via = None,
    json: Json = False,
) -> int:
    """Encrypt and hash payloads, and record the digest of each ciphertext.

    The ciphertext is discarded, or kept in a vault. A vault takes files and folders: only what is new or changed since
    its last snapshot of the same paths is encrypted. threadmill vault init makes one. --json prints the run with its
    payloads, as history show does.

    Exit codes: 0 done, 1 a payload failed, 2 refused before any work, 3 a source was unreadable or changed while it was
    read, or has lost many of its files since the last snapshot.

    Examples: threadmill encrypt --random 4KiBx100 and threadmill encrypt FOLDER --key-file KEY --vault VAULT

    Args:
        paths: files and folders (all files below them), or - for standard input
        random: encrypt random payloads with a throw-away key: SIZExCOUNT, such as 100x3 or 4KiBx1000
        key_file: made by threadmill keygen; default: THREADMILL_KEY_FILE
        vault: folder to keep the ciphertext in; default: THREADMILL_VAULT
        dry_run: say what would be encrypted into the vault, and do nothing
    """
    parameters, flow = _parameters(paths, random, options, vault)
    from flows.cli.run import exit_code_of, run_job
    from flows.jobs.encrypt import encryption_job
    from flows.jobs.plan import vault_of

    settings = settings_with(vault, key_file, options.jobs)
    kept_in = vault_of(parameters, settings)
    if dry_run:
        if not isinstance(parameters, EncryptFiles):
            raise RequestRefused("--dry-run is for a vault, which takes files and folders")
        return _print_preview(parameters, settings, json=json)
    if "-" in paths and via == "prefect":
        raise RequestRefused("standard input can be read only with --via direct")
    if kept_in is not None and isinstance(parameters, EncryptFiles):
        from flows.jobs.keep import keeping_job

        job = keeping_job(parameters, settings)
    else:
        job = encryption_job(parameters, settings)
    done = run_job(flow, parameters, job, settings, "direct" if "-" in paths else via)
    history = settings.open_history()
    code = exit_code_of(history, done.run_id)
    if json:
        print_json(history.detail(done.run_id))
    else:
        _print_payloads(history, done.run_id)
    if code or not json:
        conclude(f"run {done.run_id}" + (f", vault {kept_in}" if kept_in else "") + f": {done.message}", code)
    if kept_in is None and isinstance(parameters, EncryptFiles) and not options.discard:
        hint(_NOTHING_KEPT["-" in paths])
    return code


def _parameters(
    paths: tuple[str, ...], random: list[str], options: EncryptFiles, vault: str | None
) -> tuple[EncryptFiles | EncryptPayloads, str]:
    """The parameters, checked, and the flow that has them."""
    if paths and random:
        raise RequestRefused("give either paths or --random, not both")
    if len(random) > 1:
        raise RequestRefused("give --random once")
    # Standard input is kept nowhere, whatever is set; it is refused where it is to be kept on purpose.
    discarded = options.discard or bool(random) or (paths == ("-",) and vault is None)
    if discarded and (vault is not None or options.is_of_vault):
        raise RequestRefused("a vault keeps files and folders; leave out --vault, --exclude and --rehash for this")
    options.check()
    if not random:
        check_paths(paths, some=True)
        named = tuple(path if path == "-" else need_path(path) for path in paths)
        return replace(options, paths=named, discard=discarded), "flows.encryption:encrypt_files"
    size_bytes, count = _parse_random(random[0])
    drawn = EncryptPayloads(
        size_bytes=size_bytes,
        count=count,
        suites=options.suites,
        backends=options.backends,
        jobs=options.jobs,
        allow_legacy_size=options.allow_legacy_size,
    )
    return drawn, "flows.encryption:encrypt_payloads"


def _parse_random(text: str) -> tuple[int, int]:
    """Size in bytes and count of `100x3` or `4KiBx1000`, within the bounds."""
    match = _RANDOM.fullmatch(text.strip())
    if match is None:
        raise RequestRefused(f"random payloads are given as SIZExCOUNT, such as 100x3 or 4KiBx1000, not {text[:60]!r}")
    size_bytes, count = int(match[1]) * _UNITS[(match[2] or "").lower()], int(match[3])
    if size_bytes > _RANDOM_BYTES:
        raise RequestRefused("a random payload has at most 1 GiB (it is held in memory)")
    if not 1 <= count <= _RANDOM_COUNT:
        raise RequestRefused(f"the number of random payloads is between 1 and {_RANDOM_COUNT:,}")
    return size_bytes, count


def _print_preview(parameters: EncryptFiles, settings: Settings, *, json: bool) -> int:
    if parameters.discard or settings.vault is None:
        raise RequestRefused("--dry-run is for a vault: give --vault DIR or set THREADMILL_VAULT")
    from flows.jobs.keep import preview
    from flows.jobs.vault_state import loss

    found = preview(parameters, settings)
    code = 3 if found.refused else 0
    if json:
        print_json(found)
        return code
    since = f"since snapshot {found.previous}" if found.previous else "there is no snapshot of these paths"
    say(
        f"{plural(found.to_do, 'file')} to encrypt, {size(found.to_do_bytes)}; {found.unchanged:,} unchanged, "
        f"{found.skipped:,} skipped ({since}); nothing was done"
    )
    for pattern in found.unmatched:
        say(f"--exclude {shown_path(pattern)}: matches nothing")
    for source in found.sources:
        if source.gone:
            say(loss(source))
    for refused in found.refused:
        complain(refused)
    return code


def _print_payloads(history: History, run_id: int) -> None:
    """Print the first payloads with their digests, and where the others are."""
    from db.history import PayloadFilter

    shown = history.payloads(PayloadFilter(run_id=run_id), limit=_SHOWN)
    if shown:
        print_table(PAYLOADS.fill(shown, f"run {run_id}", without=("run", "started", "stages")))
    print_backends(shown)
    total = sum(count.count for count in history.counts(run_id))
    if total > len(shown):
        say(f"the first {len(shown)} are shown; all of them: threadmill history show {run_id} --limit {total}")
    say(f"recorded in {history.where}")


def print_backends(payloads: Sequence[PayloadRow]) -> None:
    """Print the backends that ran, with their versions, and the reason if native took over."""
    for backend, detail, reason in dict.fromkeys(
        (row.backend, row.backend_detail, row.backend_reason) for row in payloads
    ):
        say(f"{backend}: {detail}" + (f"; {reason}" if reason.startswith("native took over") else ""))


def check(
    *paths: str,
    all: Flag = False,  # noqa: A002
    key_file: str | None = None,
    jobs: Whole | None = None,
    json: Json = False,
) -> int:
    """Compare files with the record, and name those that differ, are new or are gone.

    Each file is encrypted again with its recorded salt. What belongs at and below a path is known from the newest run
    of it, without what that run left out (--exclude). --json prints the counts and the files.

    Exit codes: 0 all the same, 1 a file differs, is new or is gone, or it could not be told, 2 refused, or no run knows
    a path, 3 a file was unreadable or changed while it was read.

    Example: threadmill check FOLDER --key-file KEY

    Args:
        paths: files and folders (all files below them)
        all: list the files that are the same too
        key_file: the key file that they were encrypted with; default: THREADMILL_KEY_FILE
        jobs: files at once (default: usable CPUs)
    """
    settings = settings_with(None, key_file, jobs)
    if "-" in paths:
        raise RequestRefused("standard input has no record to be held against: name files or folders")
    if not paths:
        raise RequestRefused("nothing to check: name files or folders")
    named = tuple(map(need_path, paths))
    from flows.jobs.check import DIFFERENCES, UNREAD, listings_of
    from flows.jobs.check import check as check_files
    from tasks.crypto.encrypt import Limits

    history = settings.open_history()
    listings, key = listings_of(named, history), need_key_file(settings.key_file)
    # A file that the suite `classic` was allowed to take before may be checked without being asked again.
    limits = Limits(settings.chain_timeout_s, allow_legacy_size=True)
    counts, listed = Counter[str](), []
    for one in check_files(listings, key, history, jobs=settings.usable_jobs, limits=limits, cancel=CancelToken()):
        counts[one.verdict] += 1
        if all or one.verdict in (*DIFFERENCES, *UNREAD):
            listed.append(one)
    code = 1 if any(counts[one] for one in DIFFERENCES) else 3 if any(counts[one] for one in UNREAD) else 0
    if json:
        print_json({"counts": counts, "files": listed})
    elif listed:
        print_table(CHECKED.fill(listed), findings=code > 0)
    if code or not json:
        found = ", ".join(f"{count:,} {verdict}" for verdict, count in counts.most_common()) or "there are none"
        conclude(f"{plural(counts.total(), 'file')} checked: {found}", code)
    return code


def keygen(path: str, /) -> int:
    """Write a new key file, readable for its owner only.

    Nobody can open what was encrypted with a key file that is lost: keep a copy in a safe place.

    Exit codes: 0 written, 2 refused: the file exists or cannot be written.

    Example: threadmill keygen ~/threadmill.key

    Args:
        path: file to make; an existing file is never overwritten
    """
    from tasks.crypto.secret import write_key_file

    write_key_file(path)
    say(f"wrote {path}. Without it nothing opens: keep a copy in a safe place, and tell nobody what is in it.")
    return 0
