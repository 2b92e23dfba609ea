"""The pictures of Prefect's UI in docs/images, from real runs: `make screenshots`, some minutes on an idle machine."""

from __future__ import annotations

import getpass
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from tests.support.commands import BIN, clean_environment
from tests.support.prefect_ui import Ui, find_chromium, prefect_ui
from tests.support.served import Served, serving

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
WIDTH = 1400
# The survey takes two minutes on an idle machine.
RUN_S = 900
# The host's own name is nobody's business. Only those that are started here see this one.
AS_ANOTHER_HOST = ("unshare", "--map-root-user", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', "files")
DOCUMENTS = {
    "letters/bank.odt": 240_000,
    "letters/landlord.odt": 180_000,
    "letters/tax-office.pdf": 1_900_000,
    "photos/garden.jpg": 5_200_000,
    "photos/harbour.jpg": 6_400_000,
    "photos/mountains.jpg": 7_100_000,
    "recipes/bread.txt": 3_100,
    "recipes/plum-cake.txt": 2_700,
    "accounts.ods": 410_000,
    "addresses.csv": 22_000,
    "manuscript.txt": 860_000,
    "thesis.pdf": 4_300_000,
}


def main() -> int:
    """Make all pictures; 1 where there is no browser."""
    chromium = find_chromium()
    if chromium is None:
        print("no chromium on PATH (apt install chromium)", file=sys.stderr)
        return 1
    with neutral_folders() as (documents, home):
        environment = clean_environment() | {"THREADMILL_HOME": str(home), "THREADMILL_KEY_FILE": str(home / "key")}
        fill(documents)
        subprocess.run([BIN / "threadmill", "keygen", home / "key"], env=environment, check=True)
        with serving(environment, home, AS_ANOTHER_HOST) as served:
            ids = make_runs(served, documents)
            with prefect_ui(served.url, chromium) as ui:
                ui.log_in(served.auth or "")
                take_all(ui, served, ids)
    return 0


@contextmanager
def neutral_folders() -> Iterator[tuple[Path, Path]]:
    """Folders for documents and for threadmill, whose names may be seen; both are removed afterwards.

    Raises:
        FileExistsError: there is such a folder, which is not ours.
    """
    base = Path("/srv" if os.access("/srv", os.W_OK) else tempfile.gettempdir())
    with ExitStack() as made:
        documents, home = base / "documents", base / "threadmill"
        for folder in (documents, home):
            folder.mkdir(mode=0o700)
            made.callback(shutil.rmtree, folder)
        yield documents, home


def fill(documents: Path) -> None:
    """Files of some size and no content."""
    for name, size_bytes in DOCUMENTS.items():
        path = documents / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(size_bytes))


def make_runs(served: Served, documents: Path) -> dict[str, str]:
    """What a day brings, one after the other, so that nothing measures beside another; ids by deployment."""
    asked: dict[str, dict[str, Any]] = {
        "encrypt-payloads": {"size_bytes": 1 << 20, "count": 8},
        "encrypt-files": {"paths": [str(documents)], "suites": ["modern", "chacha"]},
        "survey": {},
        "run-experiments": {
            "experiments": ["race"],
            "shapes": ["augmented", "expanded"],
            "guards": ["none", "lock"],
            "pythons": ["all"],
            "rounds": 2,
            "quick": True,
        },
    }
    ids = {}
    for deployment, parameters in asked.items():
        ids[deployment] = served.request(deployment, **parameters)
        served.completed(ids[deployment], RUN_S)
    return ids


def take_all(ui: Ui, served: Served, ids: dict[str, str]) -> None:
    """One picture after the other."""
    with picture(ui, "ui-runs", 1150):
        ui.open("/runs", "encrypt-payloads")
    with picture(ui, "ui-run", 1135):
        ui.drawn(ui.flow_run(ids["encrypt-files"]))
        # The first lines are those of the worker.
        ui.tab("Logs").get_by_role("button", name="Oldest to newest").press("ArrowDown")
        ui.page.get_by_role("option", name="Newest to oldest").click()
    with picture(ui, "ui-payloads", 900):
        ui.newest("encrypt-files-payloads")
    with picture(ui, "ui-report", 1000):
        plot = ui.newest("run-experiments-report").get_by_role("article").get_by_role("img").first
        plot.evaluate("plot => plot.scrollIntoView({block: 'center'})")
    with picture(ui, "ui-form", 920):
        page = ui.form(served.deployments()["encrypt-files"]["id"])
        page.get_by_role("button", name="Add item").click()
        page.get_by_role("textbox").last.fill("/srv/documents")


@contextmanager
def picture(ui: Ui, name: str, height: int) -> Iterator[None]:
    """Take what the page shows in the end, unless it gives away who made it where."""
    ui.page.set_viewport_size({"width": WIDTH, "height": height})
    yield
    ui.page.wait_for_load_state("networkidle")
    ui.page.evaluate("document.activeElement.blur()")
    text = ui.page.inner_text("body")
    private = (platform.node(), getpass.getuser(), str(Path.home()), str(ROOT))
    seen = [word for word in private if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text)]
    if seen:
        raise SystemExit(f"{name} would show {', '.join(seen)}")
    with Image.open(io.BytesIO(ui.page.screenshot(animations="disabled"))) as taken:
        # A palette makes it half the size, and nobody sees the difference.
        taken.convert("RGB").quantize(method=Image.Quantize.FASTOCTREE).save(IMAGES / f"{name}.png", optimize=True)
    print(f"docs/images/{name}.png")


if __name__ == "__main__":
    sys.exit(main())
