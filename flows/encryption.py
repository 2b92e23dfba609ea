"""The flows that encrypt and fingerprint: files, and random payloads."""

from __future__ import annotations

import os

from prefect import runtime

from flows.errors import RequestRefused
from flows.jobs.encrypt import encryption_job
from flows.jobs.keep import keeping_job
from flows.jobs.parameters import EncryptFiles, EncryptPayloads
from flows.jobs.plan import vault_of
from flows.jobs.run import Job
from flows.orchestration.flow_run import job_flow, now
from flows.settings import Settings, load_settings


def _files_run_name() -> str:
    paths: list[str] = runtime.flow_run.parameters["paths"] or _paths_set()
    named = os.path.basename(os.path.abspath(paths[0])) or "/" if paths else "nothing"
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"encrypt-files {named}{more} {now()}"


def _paths_set() -> list[str]:
    """The paths of the settings; none if the settings are wrong, because the run itself refuses them."""
    try:
        return list(load_settings().path_list)
    except RequestRefused:
        return []


def _payloads_run_name() -> str:
    parameters = runtime.flow_run.parameters
    return f"encrypt-payloads {parameters['count']} x {parameters['size_bytes']} bytes {now()}"


@job_flow(EncryptFiles, _files_run_name)
def encrypt_files(parameters: EncryptFiles, settings: Settings) -> Job:
    """Encrypt every file at or below the paths, and record the digest of each ciphertext.

    Where a vault is set (THREADMILL_VAULT), the ciphertext is kept in it: then only what is new or changed since its
    last snapshot of the same paths is encrypted. The key file is a setting of the process that runs this
    (THREADMILL_KEY_FILE), never a parameter.
    """
    if "-" in (parameters.paths or settings.path_list):
        raise RequestRefused("a flow run has no standard input: name files or folders")
    if vault_of(parameters, settings) is None:
        return encryption_job(parameters, settings)
    return keeping_job(parameters, settings)


@job_flow(EncryptPayloads, _payloads_run_name)
def encrypt_payloads(parameters: EncryptPayloads, settings: Settings) -> Job:
    """Encrypt random payloads with a throw-away key, and record digests and timings."""
    return encryption_job(parameters, settings)
