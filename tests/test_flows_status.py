"""`threadmill status`: one screen for a person, an exit code for monitoring."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Command, read_json
from tests.processes import wait_until
from tests.served import serving
from tests.tracing import outside, tracing


def test_without_a_server_nothing_is_scheduled(threadmill: Command, environment: dict[str, str]) -> None:
    """No server is a complaint, and one that does not answer is another; what is on record is told all the same."""
    threadmill("encrypt", "--random", "100x1")
    result = threadmill("status")
    assert result.returncode == 1
    assert "1 runs" in result.stdout
    assert "needs eyes: no Prefect server" in result.stdout
    environment["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
    report = read_json(threadmill("status", "--json"))
    assert report["size"]["runs"] == 1
    assert "does not answer" in report["complaints"][0]


def test_deployments_are_told_with_what_is_wrong(
    threadmill: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    """All is well after a start; a failed run needs eyes and is named. All the while nobody outside is asked."""
    trace = tmp_path / "trace"
    with serving(environment, tmp_path, tracing(trace)) as served:
        wait_until(lambda: threadmill("status").returncode == 0, "all is not well", 120)
        report = read_json(threadmill("status", "--json"))
        states = {state["name"]: state for state in report["deployments"]["states"]}
        assert {"survey", "encrypt-payloads", "encrypt-files", "run-experiments"} <= states.keys()
        assert states["survey"]["next_at"]
        assert not states["encrypt-files"]["scheduled"]
        flow_run_id = served.request("encrypt-payloads", size_bytes=9 << 20, count=1, suites=["classic"])
        wait_until(lambda: threadmill("status").returncode == 1, "the failed run is not told", 180)
        said = threadmill("status").stdout
        assert "needs eyes: encrypt-payloads: last run Failed" in said
        assert "8 MiB" in said
        run = read_json(threadmill("history", "show", flow_run_id, "--json"))["run"]
        assert (run["deployment"], run["status"]) == ("encrypt-payloads", "failed")
    assert outside(trace) == []
