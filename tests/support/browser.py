"""A real browser on the running stack: what a person sees, and what must never happen while they look."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from release.website import PACKAGES
from tests.support.template import ROOT

CHROMIUM = Path("/usr/bin/chromium")
SCREENSHOTS = ROOT / ".local/screenshots"
DESKTOP, PHONE = 1280, 390
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@dataclass
class Visit:
    """A page of a browser, and everything that went wrong in it."""

    page: Page
    width: int
    faults: list[str] = field(default_factory=list)
    transferred: int = 0

    def watch(self) -> None:
        self.page.on("console", lambda said: self._fault(said.text) if said.type in {"error", "warning"} else None)
        self.page.on("pageerror", lambda error: self._fault(str(error)))
        self.page.on("request", lambda request: self._elsewhere(request.url))
        session = self.page.context.new_cdp_session(self.page)
        session.send("Network.enable")
        session.on("Network.loadingFinished", self._count)

    def _fault(self, what: str) -> None:
        self.faults.append(what)

    def _elsewhere(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"data", "blob"} and parts.hostname != "127.0.0.1":
            self._fault(f"a request to {parts.hostname}")

    def _count(self, event: dict[str, float]) -> None:
        self.transferred += int(event["encodedDataLength"])

    def open(self, url: str) -> Page:
        self.page.goto(url)
        self.page.wait_for_load_state("networkidle")
        return self.page

    def accept(self, name: str) -> None:
        """Keep a picture of the page as it is; fail on any fault so far, and on any that axe-core finds."""
        self.page.wait_for_load_state("networkidle")
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}-{self.width}.png", full_page=True)
        self.page.evaluate((PACKAGES / "axe-core/axe.min.js").read_text())
        found = self.page.evaluate("axe.run()")["violations"]
        self.faults += [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]]
        assert not self.faults, self.faults


@contextmanager
def browser() -> Iterator[Browser]:
    """Start Debian's Chromium; skip where there is none."""
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}: apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*_FLAGS])
        yield chromium
        chromium.close()


@contextmanager
def visit(chromium: Browser, width: int = DESKTOP) -> Iterator[Visit]:
    page = chromium.new_page(viewport={"width": width, "height": 900}, locale="fr-FR")
    made = Visit(page, width)
    made.watch()
    yield made
    page.context.close()


def note(name: str, figures: dict[str, object]) -> None:
    """Keep figures beside the pictures: those of time are told, and not judged, on a machine that may be busy."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    (SCREENSHOTS / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")
