"""The flows that encrypt and fingerprint: files, and random payloads."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.errors import RequestRefused
from flows.jobs.encryption import encrypt
from flows.jobs.keep import encrypt_into_vault
from flows.jobs.names import check_backends, check_suites
from flows.jobs.request import EncryptionRequest, RandomSpec, check_paths, need_key_file, vault_request
from flows.jobs.run import Job
from flows.orchestration import run_in_flow
from flows.settings import Settings, load_settings
from tasks.crypto.encrypt import Limits
from tasks.crypto.probe import BackendChoice
from tasks.crypto.secret import ThrowAway
from tasks.crypto.suites import SuiteName

Jobs = Annotated[int, Field(ge=1, le=256)]
Suites = Annotated[list[SuiteName], Field(min_length=1)]
Backends = Annotated[list[BackendChoice], Field(min_length=1)]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M")


def _files_run_name() -> str:
    paths: list[str] = runtime.flow_run.parameters["paths"] or _paths_set()
    named = os.path.basename(os.path.abspath(paths[0])) or "/" if paths else "nothing"
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"encrypt-files {named}{more} {_now()}"


def _paths_set() -> list[str]:
    """The paths of the settings; none where the settings make no sense, which the run itself will say."""
    try:
        return list(load_settings().path_list)
    except RequestRefused:
        return []


def _need_paths(settings: Settings) -> tuple[str, ...]:
    if not settings.path_list:
        raise RequestRefused("nothing to encrypt: name paths, or set THREADMILL_PATHS for the worker")
    return settings.path_list


def _payloads_run_name() -> str:
    parameters = runtime.flow_run.parameters
    return f"encrypt-payloads {parameters['count']} x {parameters['size_bytes']} bytes {_now()}"


# Lists are the defaults that the UI's form shows; Prefect copies them for every run.
@flow(name="encrypt-files", flow_run_name=_files_run_name)
def encrypt_files(
    paths: list[str] = [],  # noqa: B006
    suites: Suites = ["modern"],  # noqa: B006
    backends: Backends = ["auto"],  # noqa: B006
    jobs: Jobs | None = None,
    allow_legacy_size: bool = False,
    exclude: list[str] = [],  # noqa: B006
    rehash: bool = False,
    discard: bool = False,
) -> State[None]:
    """Encrypt every file at or below the paths, and record the digest of each ciphertext.

    Where a vault is set (THREADMILL_VAULT), the ciphertext is kept in it: then only what is new or changed since its
    last snapshot of the same paths is encrypted. The key file is a setting of the process that runs this
    (THREADMILL_KEY_FILE), never a parameter.

    Args:
        paths: files and folders on the machine that runs the flow; a folder stands for all files below it;
            empty for those in THREADMILL_PATHS
        suites: what to encrypt and hash with; several are run one after the other
        backends: auto takes openssl where it can run the suite, and the cryptography package elsewhere
        jobs: chains at once, 1 to 256; empty for as many as there are usable CPUs
        allow_legacy_size: let the suite classic take files over 8 MiB
        exclude: what to leave out of the vault, in the syntax of gitignore, relative to each path
        rehash: read files too that look unchanged, and encrypt those that are not
        discard: keep nothing, although a vault is set
    """

    def job(settings: Settings) -> Job:
        named = paths or _need_paths(settings)
        if "-" in named:
            raise RequestRefused("a flow run has no standard input: name files or folders")
        request = EncryptionRequest(
            need_key_file(settings.key_file),
            paths=check_paths(named),
            suites=check_suites(suites),
            backends=check_backends(backends),
            openssl=settings.openssl,
            jobs=jobs or settings.usable_jobs,
            limits=Limits(settings.chain_timeout_s, allow_legacy_size),
            vault=None if discard else vault_request(settings.vault, named, suites, backends, exclude, rehash=rehash),
        )
        if request.vault is None:
            return partial(encrypt, request)
        return partial(encrypt_into_vault, request, request.vault)

    return run_in_flow("encrypt_files", job)


@flow(name="encrypt-payloads", flow_run_name=_payloads_run_name)
def encrypt_payloads(
    size_bytes: Annotated[int, Field(ge=0, le=1 << 30)] = 100,
    count: Annotated[int, Field(ge=1, le=1_000_000)] = 3,
    suites: Suites = ["modern"],  # noqa: B006
    backends: Backends = ["auto"],  # noqa: B006
    jobs: Jobs | None = None,
    allow_legacy_size: bool = False,
) -> State[None]:
    """Encrypt random payloads with a throw-away key, and record digests and timings.

    Args:
        size_bytes: size of each payload, at most 1 GiB
        count: how many payloads under every suite and backend, at most 1,000,000
        suites: what to encrypt and hash with; several are run one after the other
        backends: auto takes openssl where it can run the suite, and the cryptography package elsewhere
        jobs: chains at once, 1 to 256; empty for as many as there are usable CPUs
        allow_legacy_size: let the suite classic take payloads over 8 MiB
    """

    def job(settings: Settings) -> Job:
        request = EncryptionRequest(
            ThrowAway(),
            random=RandomSpec(size_bytes, count),
            suites=check_suites(suites),
            backends=check_backends(backends),
            openssl=settings.openssl,
            jobs=jobs or settings.usable_jobs,
            limits=Limits(settings.chain_timeout_s, allow_legacy_size),
        )
        return partial(encrypt, request)

    return run_in_flow("encrypt_payloads", job)
