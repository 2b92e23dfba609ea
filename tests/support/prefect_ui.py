"""Prefect's UI in the system's chromium: light, in UTC, and with every address that its pages asked for."""

from __future__ import annotations

import io
import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, Response, expect, sync_playwright

WAIT_S = 60
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# The bar along the lower edge of a run's graph, in pixels; near its right end it has the colour of the run's state.
_BAR = 12
# The inner of a letter in front of a box is no box.
_SMALLEST_BOX = 60


def find_chromium() -> str | None:
    """Path of the system's chromium: a browser is never downloaded."""
    return shutil.which("chromium")


@contextmanager
def prefect_ui(server: str, chromium: str) -> Iterator[Ui]:
    """A browser window on the UI of `server`, as somebody has it who was never there before."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        context = browser.new_context(
            viewport={"width": 1400, "height": 900}, color_scheme="light", locale="en-GB", timezone_id="UTC"
        )
        context.set_default_timeout(WAIT_S * 1000)
        expect.set_options(timeout=WAIT_S * 1000)
        # The pages are dark, whatever a browser prefers, unless they remember another choice.
        context.add_init_script("localStorage.setItem('color-scheme', JSON.stringify('light'))")
        ui = Ui(context.new_page(), server, [])
        context.on("request", lambda request: ui.asked.append(request.url))
        ui.page.on("websocket", lambda socket: ui.asked.append(socket.url))
        try:
            yield ui
        finally:
            browser.close()


@dataclass(frozen=True, slots=True)
class Ui:
    """A window of the browser; `asked` are all addresses that were asked for in it."""

    page: Page
    server: str
    asked: list[str]

    def open(self, path: str, shows: str) -> Page:
        """Go to a page, and wait until it shows a text."""
        self.page.goto(f"{self.server}{path}")
        expect(self.page.get_by_text(shows).first).to_be_visible()
        return self.page

    def log_in(self, password: str) -> None:
        """Paste the password where the UI asks for it."""
        self.page.goto(self.server)
        self.page.locator("input[type=password]").fill(password)
        self.page.keyboard.press("Enter")
        expect(self.page.get_by_text("Flow Runs").first).to_be_visible()

    def flow_run(self, flow_run_id: str) -> Graph:
        """Go to a flow run; the graph that its page was told to draw."""
        with self.page.expect_response(re.compile("/graph-v2")) as told:
            self.open(f"/runs/flow-run/{flow_run_id}", "Task Runs")
        return read_graph(told.value)

    def drawn(self, graph: Graph) -> None:
        """Wait until that many boxes are on the page."""
        deadline = time.monotonic() + WAIT_S
        while (boxes := boxes_drawn(self.page.locator("canvas"))) < len(graph.names):
            assert time.monotonic() < deadline, f"{boxes} boxes for {graph.names}"
            time.sleep(0.1)

    def tab(self, name: str) -> Locator:
        """Switch to a tab of the page; what it shows."""
        self.page.get_by_role("listitem").get_by_text(name, exact=True).click()
        return self.page.get_by_role("tabpanel", name=name)

    def newest(self, key: str) -> Page:
        """Go to the artifact of that key, and from there to its newest version."""
        self.open(f"/artifacts/key/{key}", "Created")
        self.page.get_by_role("listitem").get_by_role("heading").get_by_role("link").first.click()
        expect(self.page.get_by_text("State Message")).to_be_visible()
        return self.page

    def form(self, deployment_id: str) -> Page:
        """Go to the form that starts a run of a deployment."""
        return self.open(f"/deployments/deployment/{deployment_id}/run", "Validate parameters")

    def outside(self) -> list[str]:
        """The addresses asked for that are not of this machine."""
        return [url for url in self.asked if not is_local(url)]


def is_local(url: str) -> bool:
    """Whether an address leads nowhere but to this machine or into the page itself."""
    parts = urlsplit(url)
    return parts.scheme in ("data", "blob") or parts.hostname in _LOOPBACK


@dataclass(frozen=True, slots=True)
class Graph:
    """A flow run's task runs as the server tells them to the page: names, and who comes before whom, by name."""

    names: tuple[str, ...]
    edges: frozenset[tuple[str, str]]


def read_graph(told: Response) -> Graph:
    """The names are drawn on a canvas, where nothing can read them: they are taken from what was sent to be drawn."""
    nodes = dict(json.loads(told.text())["nodes"])
    edges = {(node["label"], nodes[child["id"]]["label"]) for node in nodes.values() for child in node["children"]}
    return Graph(tuple(node["label"] for node in nodes.values()), frozenset(edges))


def boxes_drawn(canvas: Locator) -> int:
    """The boxes on the canvas of a run's graph that have the colour of the run's own state."""
    with Image.open(io.BytesIO(canvas.screenshot())) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    height, width, _ = pixels.shape
    state = pixels[height - _BAR // 3, width - _BAR]
    alike = np.flatnonzero((pixels[: height - _BAR] == state).all(axis=2))
    return sum(size >= _SMALLEST_BOX for size in _patches(set(alike.tolist()), width))


def _patches(left: set[int], width: int) -> Iterator[int]:
    """The sizes of what hangs together."""
    while left:
        edge, size = [left.pop()], 1
        while edge:
            here = edge.pop()
            near = left & {here - 1, here + 1, here - width, here + width}
            left -= near
            edge += near
            size += len(near)
        yield size
