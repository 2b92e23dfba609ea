"""`threadmill status`: one screen for a person, an exit code for monitoring."""

from __future__ import annotations

import subprocess
import sys

from tests.support.commands import Command, read_json


def test_without_a_server_nothing_is_scheduled(threadmill: Command, environment: dict[str, str]) -> None:
    """No server is a complaint, and one that does not answer is another; what is on record is told all the same."""
    threadmill("encrypt", "--random", "100x1")
    result = threadmill("status")
    assert result.returncode == 1
    assert "1 run, " in result.stdout
    assert "needs attention: no Prefect server" in result.stderr
    environment["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
    report = read_json(threadmill("status", "--json"))
    assert report["size"]["runs"] == 1
    assert "does not answer" in report["complaints"][0]


def test_status_needs_no_prefect(environment: dict[str, str]) -> None:
    """Importing Prefect takes more than a second, also where a server has to be asked."""
    environment["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
    program = (
        "import sys\nfrom flows.cli.main import main\nmain(['status'])\n"
        "print(sorted({'prefect', 'httpx'} & sys.modules.keys()), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert "does not answer" in ended.stderr
    assert ended.stderr.splitlines()[-1] == "[]"
