"""`threadmill status|settings|serve`: the server and its deployments, and what is in force here."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, Token

from db.answers import RecordSize
from db.host import CLOCKS_DIFFER
from db.rows import RunRow
from flows.errors import ApiError, RequestRefused
from flows.jobs.arguments import need_vault
from flows.option_types import Flag, Json, KeyOption, Limit, VaultOption, Whole
from flows.settings import Settings, load_settings, settings_with, variable
from flows.show.tables import DEPLOYMENTS, SETTINGS, UPCOMING
from flows.show.terminal import complain, print_json, print_table, say
from flows.text import after_now, ago, if_known, parse_age, parse_percentage, plural, size

if TYPE_CHECKING:
    from db.history import History
    from flows.jobs.vault_state import VaultState
    from flows.serving.deployments import Deployments
    from flows.serving.serve import Serving


def _age(_type: Any, tokens: Sequence[Token]) -> str:
    (token,) = tokens
    try:
        parse_age(token.value)
    except ValueError as error:
        raise RequestRefused(f"{token.keyword} {token.value!r}: {error}") from None
    return token.value


# Leading hyphens are allowed, so that -5d is refused as an age and not as an unknown option.
Age = Annotated[str | None, Parameter(metavar="AGE", allow_leading_hyphen=True, converter=_age)]


@dataclass(frozen=True, slots=True)
class VaultReport:
    """The vault in `status --json`; `complaints` are about its state and about its ages."""

    state: VaultState
    snapshot_age: str | None
    proof_age: str | None
    complaints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """The document that `--json` prints; `complaints` is empty if all is well."""

    record: str
    size: RecordSize
    last_run: RunRow | None
    deployments: Deployments | None
    vault: VaultReport | None
    complaints: tuple[str, ...]


def status(
    *,
    vault: VaultOption = None,
    key_file: KeyOption = None,
    snapshot_age: Age = None,
    proof_age: Age = None,
    only_vault: Flag = False,
    json: Json = False,
) -> int:
    """Say how the scheduled runs and the vault are doing.

    That is: what ran last, what is due, and what is late, failed, missing or too old. A pack that was never verified
    counts from when it was stored.

    Exit codes: 0 all is well, 1 something needs attention, 2 refused before any work.

    Example: threadmill status --vault VAULT --snapshot-age 2d --proof-age 30d

    Args:
        snapshot_age: complain if the vault's newest snapshot is older: 30m, 36h, 2d; default: THREADMILL_SNAPSHOT_AGE
        proof_age: complain if an object was not verified for longer: 36h, 30d, 8w; default: THREADMILL_PROOF_AGE
        only_vault: look at the vault, and neither at a server nor at deployments
    """
    settings = settings_with(vault, key_file)
    if only_vault:
        need_vault(settings.vault)
    history = settings.open_history()
    kept = _look(settings, history, snapshot_age, proof_age)
    deployments, complaints = (None, ()) if only_vault else _ask(settings)
    last, now = next(iter(history.runs(limit=1)), None), datetime.now(UTC)
    if last is not None and last.started_at > now + CLOCKS_DIFFER:
        complaints += (after_now(f"run {last.id}", last.started_at, now),)
    lost = history.lost_runs().items()
    complaints += tuple(f"run {run_id}: {why}; the next run closes it as crashed" for run_id, why in lost)
    complaints += kept.complaints if kept else ()
    report = Status(history.where, history.size(), last, deployments, kept, complaints)
    if json:
        print_json(report)
    else:
        _print(report, history)
    for complaint in complaints:
        complain(f"needs attention: {complaint}")
    return 1 if complaints else 0


_NO_SERVER = "no Prefect server: threadmill serve is not running here, and PREFECT_API_URL is not set"


def _ask(settings: Settings) -> tuple[Deployments | None, tuple[str, ...]]:
    """The deployments, if they are known, and the complaints about them."""
    from flows.serving.api import Api
    from flows.serving.server import use_server

    if not use_server(settings.home):
        return None, (_NO_SERVER,)
    from flows.serving.deployments import read_deployments

    try:
        found = read_deployments(Api(os.environ))
    except ApiError as error:
        return None, (f"Prefect's server does not answer as it should: {error.request}: {error.reason}",)
    return found, found.complaints


def _print(report: Status, history: History) -> None:
    record = report.size
    last = f"; last run {report.last_run.id} {report.last_run.status}" if report.last_run else ""
    say(f"record: {report.record}, {plural(record.runs, 'run')}, {size(record.size_bytes)}{last}")
    deployments = report.deployments
    if deployments is not None:
        say(f"Prefect: {deployments.api}, workers online: {deployments.workers_online}")
        recorded = (history.run_of_flow(one.last.flow_run_id) if one.last else None for one in deployments.states)
        runs = (run.id if run else None for run in recorded)
        print_table(DEPLOYMENTS.fill(zip(deployments.states, runs, strict=True)))
    if report.vault is not None:
        _print_vault(report.vault)
    if not report.complaints:
        say("all is well")


def _look(settings: Settings, history: History, snapshot_age: str | None, proof_age: str | None) -> VaultReport | None:
    """The vault of the settings; None without one."""
    from flows.jobs.vault_state import look_at_vault, too_old

    if settings.vault is None:
        if snapshot_age or proof_age:
            raise RequestRefused("ages are those of a vault: give --vault DIR or set THREADMILL_VAULT")
        return None
    snapshot_age, proof_age = snapshot_age or settings.snapshot_age, proof_age or settings.proof_age
    state = look_at_vault(settings.vault, settings.key_file, history, parse_percentage(settings.most_faulty))
    old = too_old(state, if_known(parse_age, snapshot_age), if_known(parse_age, proof_age), datetime.now(UTC))
    return VaultReport(state, snapshot_age, proof_age, (*state.complaints, *old))


def _print_vault(report: VaultReport) -> None:
    """Print the state of the vault in a few lines."""
    state, row = report.state, report.state.on_record
    counts = ""
    if row is not None:
        counts = f" ({row.new:,} new, {row.unchanged:,} unchanged, {row.marked:,} marked, {row.missed:,} missed, "
        counts += f"{row.gone:,} gone)"
    note = f"; {state.note}" if state.note else ""
    if state.snapshots is None:
        say(f"vault: {state.path}{note}")
        if row is not None:
            files = plural(row.files, "file")
            say(f"on record: newest snapshot {row.name} of {ago(row.created_at)}: {files}{counts}")
        return
    say(
        f"vault: {state.path}, {plural(state.snapshots, 'snapshot')}, "
        + (f"{plural(state.partial, 'partial snapshot')}, " if state.partial else "")
        + f"{plural(state.objects or 0, 'object')} ({plural(state.packs or 0, 'pack')}), "
        f"{size(state.stored_bytes or 0)}{note}"
    )
    if state.newest_at is not None:
        files = plural(state.newest_files or 0, "file")
        say(
            f"newest snapshot: {state.newest_name} of {ago(state.newest_at)}: {files}, "
            f"{size(state.newest_bytes or 0)}{counts}"
        )
    if state.objects:
        never = f"{state.never_proven:,} never proven" if state.never_proven else "all proven"
        oldest = f", the oldest proof of {ago(state.oldest_proof)}" if state.oldest_proof else ""
        since = f"; longest unproven: since {ago(state.unproven_since)}" if state.unproven_since else ""
        say(f"packs and large objects: {never}{oldest}{since if state.never_proven else ''}")


def settings(*, json: Json = False) -> int:
    """Print the settings in force, and the variables that change them.

    Passwords are masked.

    Exit codes: 0 printed, 2 refused: a variable has a value that makes no sense.

    Example: threadmill settings --json
    """
    in_force = load_settings()
    values = asdict(in_force) | {"database_url": in_force.shown_url}
    if json:
        print_json(values)
    else:
        rows = ((variable(field.name), values[field.name], field.metadata["description"]) for field in fields(in_force))
        print_table(SETTINGS.fill(rows))
    return 0


def serve(*, port: Whole = 4200, limit: Limit | None = None, no_auth: Flag = False) -> int:
    """Run Prefect's server, the deployments and a worker on this machine.

    The deployments are those of prefect.yaml. The server asks for a password, which is drawn on the first start; its
    UI asks for it once. Ctrl-C ends all of it.

    Exit codes: 0 ended by a signal, 1 a part of it failed or ended by itself, 2 refused before any work.

    Example: threadmill serve --limit 2

    Args:
        port: of the server and its UI, on the loopback address
        limit: flow runs at once (default: as many as are due)
        no_auth: ask for no password, so that everybody with an account on this machine can run programs as you
    """
    from flows.serving.serve import serve as run

    in_force = load_settings()

    def ready(serving: Serving) -> None:
        _show(in_force, serving)
        _tell(f"password  {how_to_log_in(serving, no_auth=no_auth)}")
        _tell("running; Ctrl-C ends it")

    run(in_force, os.environ, port=port, limit=limit, auth=not no_auth, tell=_tell, ready=ready)
    _tell("ended, no process is left")
    return 0


def _tell(line: str) -> None:
    # At once, also into a pipe or a journal.
    say(line, flush=True)


def _show(settings: Settings, serving: Serving) -> None:
    print_table(UPCOMING.fill(serving.upcoming))
    _tell(f"UI        {serving.url}")
    _tell(f"record    {settings.shown_url}")
    _tell(f"logs      {serving.logs}/server.log and worker.log")


def how_to_log_in(serving: Serving, *, no_auth: bool) -> str:
    """The UI's password, or where it is: other output than a terminal may be kept."""
    if no_auth:
        return "none (--no-auth): everybody with an account on this machine can run programs as you"
    if serving.password is None:
        return "the one in PREFECT_SERVER_API_AUTH_STRING; paste it into the UI once"
    if sys.stdout.isatty():
        return f"{serving.password}  (paste it into the UI once)"
    return f"cat {shlex.quote(serving.password_file)}  shows what the UI asks for once"
