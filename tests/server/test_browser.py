"""What a person sees in Prefect's UI, in a real browser: runs, graph, log, tables, plots, the form that starts one."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.commands import BIN, clean_environment
from tests.support.prefect_ui import Ui, prefect_ui
from tests.support.served import Served, serving

SUITES = ["modern", "modern-blake2", "chacha", "cbc", "classic"]
BACKENDS = ["auto", "openssl", "native"]
COMPRESSIONS = ["off", "auto", "max"]


@dataclass(frozen=True)
class Site:
    """A server with a finished run of files and one of experiments."""

    served: Served
    documents: Path
    files: dict[str, Any]
    experiments: dict[str, Any]


@pytest.fixture(scope="module")
def site(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Served as for a user, who has some documents and starts a run of two deployments."""
    folder = tmp_path_factory.mktemp("site")
    documents = folder / "documents"
    documents.mkdir()
    for name in ("letter.txt", "recipe_cake.txt", "map.txt"):
        (documents / name).write_text(name * 1000)
    key_file = folder / "key"
    environment = clean_environment() | {
        "HOME": str(folder),
        "THREADMILL_HOME": str(folder / "home"),
        "THREADMILL_KEY_FILE": str(key_file),
    }
    subprocess.run([BIN / "threadmill", "keygen", key_file], env=environment, check=True, capture_output=True)
    with serving(environment, folder) as served:
        files = served.request("encrypt-files", paths=[str(documents)], suites=["modern", "cbc"], backends=["native"])
        experiments = served.request(
            "run-experiments",
            experiments=["speedup"],
            workloads=["wait"],
            executors=["thread"],
            pythons=[],
            rounds=1,
            quick=True,
        )
        yield Site(served, documents, served.completed(files), served.completed(experiments))


@pytest.fixture(scope="module")
def ui(site: Site, chromium: str) -> Iterator[Ui]:
    """A browser window on that server, whose password was pasted once."""
    assert site.served.auth is not None
    with prefect_ui(site.served.url, chromium) as ui:
        ui.log_in(site.served.auth)
        yield ui


def test_runs_are_listed_by_names_that_say_what_was_done(ui: Ui, site: Site) -> None:
    """The address that people open leads to the runs, each named for its job, its subject and its time."""
    ui.open("/", "Flow Runs")
    assert not ui.page.url.startswith(f"{site.served.url}/v2")
    ui.page.get_by_role("button", name="Runs", exact=True).click()
    for run in (site.files, site.experiments):
        expect(ui.page.get_by_role("link", name=run["name"])).to_be_visible()
    assert re.fullmatch(r"encrypt-files documents \d{4}-\d\d-\d\dT\d\d:\d\d", site.files["name"])
    assert re.fullmatch(r"run-experiments speedup \d{4}-\d\d-\d\dT\d\d:\d\d", site.experiments["name"])


def test_run_shows_its_structure_as_a_graph(ui: Ui, site: Site) -> None:
    """Plan, batches, their recording and the report are drawn, joined in that order; the tab lists the same."""
    graph = ui.flow_run(site.files["id"])
    ui.drawn(graph)
    encrypt = [name for name in graph.names if name.startswith("encrypt batch ")]
    assert len(encrypt) == 2
    assert sorted(graph.names) == sorted([*encrypt, "plan", "record batch 0", "record batch 1", "report"])
    assert graph.edges == {
        edge
        for name, record in zip(sorted(encrypt), ("record batch 0", "record batch 1"), strict=True)
        for edge in (("plan", name), (name, record), (record, "report"))
    }
    tasks = ui.tab("Task Runs")
    for name in graph.names:
        expect(tasks.get_by_role("link", name=name, exact=True)).to_be_visible()


@pytest.mark.parametrize("which", ["files", "experiments"])
def test_names_in_the_graph_can_be_drawn(ui: Ui, site: Site, which: str) -> None:
    """The graph's font has the letters of ASCII only; others are left out without a word."""
    names = ui.flow_run(getattr(site, which)["id"]).names
    assert [name for name in names if not name.isascii()] == []


def test_log_tells_the_run_in_lines(ui: Ui, site: Site) -> None:
    """What was planned, a line a batch with its counts and rate, and where all of it is."""
    ui.flow_run(site.files["id"])
    log = ui.tab("Logs")
    for line in ("planned 6 payloads", "batch 0", "batch 1", "6 of 6 payloads", "threadmill history show"):
        expect(log).to_contain_text(line)
    expect(log.get_by_text("Error", exact=True)).to_have_count(0)


def test_artifacts_of_a_run_are_on_its_page(ui: Ui, site: Site) -> None:
    """The tab names the tables and the report; each leads to its page."""
    ui.flow_run(site.files["id"])
    shown = ui.tab("Artifacts")
    expect(shown.get_by_text("encrypt-files-report")).to_be_visible()
    shown.get_by_role("link", name="encrypt-files-payloads").click()
    expect(ui.page.get_by_role("table")).to_contain_text("letter.txt")


def test_table_of_payloads_by_its_key(ui: Ui, site: Site) -> None:
    """A row a payload with its name, status and digest; the search finds one of them."""
    table = ui.newest("encrypt-files-payloads").get_by_role("table")
    for path in site.documents.iterdir():
        expect(table.get_by_text(str(path), exact=True)).to_have_count(2)
    rows = table.get_by_role("row")
    expect(rows).to_have_count(1 + 6)
    expect(table.get_by_text(re.compile("^[0-9a-f]{64}$"))).to_have_count(6)
    ui.page.get_by_placeholder("Search").fill("recipe_cake")
    expect(rows).to_have_count(1 + 2)


def test_report_shows_its_plots(ui: Ui, site: Site) -> None:
    """The newest version under the flow's key is a page with headings, tables, and images that are really drawn."""
    page = ui.newest("run-experiments-report")
    expect(page.get_by_role("heading", name="Summary")).to_be_visible()
    expect(page.get_by_role("table").first).to_contain_text("run")
    plots = page.get_by_role("article").get_by_role("img", name=re.compile("wait|time"))
    expect(plots.first).to_be_visible()
    for plot in plots.all():
        assert (plot.get_attribute("src") or "").startswith("data:image/png;base64,")
        assert plot.evaluate("image => image.decode().then(() => image.naturalWidth)") > 200


@pytest.mark.parametrize("key", ["run-experiments-report", "encrypt-files-report"])
def test_report_shows_names_as_they_are(ui: Ui, key: str) -> None:
    """What is escaped in markdown is shown as the character that it is, in tables too."""
    text = ui.newest(key).get_by_role("article").last.inner_text()
    assert key.removesuffix("-report").replace("-", "_") in text
    assert "&#" not in text
    assert "\\" not in text


def test_form_explains_itself(ui: Ui, site: Site) -> None:
    """Each parameter of encrypt-files is described, and suites and backends are chosen from lists."""
    page = ui.form(site.served.deployments()["encrypt-files"]["id"])
    for text in ("files and folders on the machine", "what to encrypt and hash with", "auto takes openssl", "at once"):
        expect(page.get_by_text(text)).to_be_visible()
    assert choices(page, "modern") == SUITES
    assert choices(page, "auto") == BACKENDS
    assert choices(page, "auto", 1) == COMPRESSIONS


def test_form_holds_to_the_bounds(ui: Ui, site: Site) -> None:
    """0 and 257 jobs are refused on the page, 256 start a run."""
    deployment = site.served.deployments()["encrypt-files"]["id"]
    page = ui.form(deployment)
    page.get_by_role("button", name="int", exact=True).click()
    jobs = page.get_by_role("spinbutton")
    for wrong in ("0", "257"):
        jobs.fill(wrong)
        page.get_by_role("button", name="Submit").click()
        expect(page.get_by_text(re.compile(rf"^{wrong} is "))).to_be_visible()
    jobs.fill("256")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_text("scheduled to start").first).to_be_visible()
    runs = site.served.ask("flow_runs/filter", {"deployments": {"id": {"any_": [deployment]}}})
    assert sorted(str(run["parameters"].get("jobs")) for run in runs if not run["auto_scheduled"]) == ["256", "None"]


def test_no_page_asks_an_outside_host(ui: Ui, site: Site) -> None:
    """Whatever is opened, all addresses that the browser asks for are of this machine."""
    deployment = site.served.deployments()["survey"]["id"]
    for path, shows in (
        ("/dashboard", "Flow Runs"),
        ("/flows", "run-experiments"),
        ("/deployments", "encrypt-payloads"),
        (f"/deployments/deployment/{deployment}", "survey"),
        ("/work-pools", "threadmill"),
        ("/artifacts", "run-experiments-samples"),
        ("/events", "Event Feed"),
        ("/settings", "Settings"),
    ):
        ui.open(path, shows)
    ui.flow_run(site.experiments["id"])
    ui.newest("run-experiments-report")
    assert len(ui.asked) > 100
    assert ui.outside() == []


def choices(page: Page, chosen: str, number: int = 0) -> list[str]:
    """The choices of a list whose chosen value is `chosen` now; `number` counts such lists."""
    page.get_by_role("button", name=chosen, exact=True).nth(number).press("ArrowDown")
    options = page.get_by_role("option")
    expect(options.first).to_be_visible()
    texts = [text.strip() for text in options.all_inner_texts()]
    page.keyboard.press("Escape")
    expect(options).to_have_count(0)
    return texts
