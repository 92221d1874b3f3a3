"""A real browser on the running stack, which records every fault of the pages it opens."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from release.website import PACKAGES
from tests.support.template import ROOT

CHROMIUM = Path("/usr/bin/chromium")
SCREENSHOTS = ROOT / ".local/screenshots"
DESKTOP, PHONE = 1280, 390
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


expect.set_options(timeout=30_000)
"""Milliseconds: the first call of a function starts it, which is slow on a busy machine."""


@dataclass
class Visit:
    """A page of the browser, with the faults found in it so far."""

    page: Page
    width: int
    faults: list[str] = field(default_factory=list)
    transferred: int = 0

    def watch(self) -> None:
        self.page.on(
            "console", lambda message: self._fault(message.text) if message.type in {"error", "warning"} else None
        )
        self.page.on("pageerror", lambda error: self._fault(str(error)))
        self.page.on("request", lambda request: self._check_host(request.url))
        session = self.page.context.new_cdp_session(self.page)
        session.send("Network.enable")
        session.on("Network.loadingFinished", self._count)

    def _check_message(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self._fault(message.text)

    def _fault(self, fault: str) -> None:
        self.faults.append(fault)

    def _check_host(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"data", "blob"} and parts.hostname != "127.0.0.1":
            self._fault(f"a request to {parts.hostname}")

    def _count(self, event: dict[str, float]) -> None:
        self.transferred += int(event["encodedDataLength"])

    def open(self, url: str) -> Page:
        self.page.goto(url)
        return self.page

    def check(self, name: str) -> None:
        """Save a screenshot; fail on any fault so far, and on any accessibility fault that axe-core finds."""
        self.page.wait_for_load_state("networkidle")
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}-{self.width}.png", full_page=True)
        self.page.evaluate((PACKAGES / "axe-core/axe.min.js").read_text())
        violations = self.page.evaluate("axe.run()")["violations"]
        self.faults += [f"{rule['id']}: {node['html']}" for rule in violations for node in rule["nodes"]]
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
    visitor = Visit(page, width)
    visitor.watch()
    yield visitor
    page.context.close()


def save_figures(name: str, figures: dict[str, object]) -> None:
    """Save figures next to the screenshots. Times are recorded and not asserted: the machine may be busy."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    (SCREENSHOTS / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")
