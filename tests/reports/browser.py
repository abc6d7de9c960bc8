"""Pages in headless Chromium, where it is installed: what their scripts made of them."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next((path for path in map(shutil.which, _NAMES) if path), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
#: No network, no GPU, no first-run pages.
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1400,1000", "--virtual-time-budget=4000",
)  # fmt: skip
#: In virtual time the screen has few frames of its own.
_FRAMES = "<script>window.requestAnimationFrame = (call) => setTimeout(call, 16);</script>"


class Browser:
    """Opens pages in a profile of its own.

    Args:
      folder: for the profile and copies of pages.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def root(self, page: str, address: str = "", script: str = "") -> dict[str, Any]:
        """Returns the data attributes of the page's root element once its scripts have run.

        Args:
          page: HTML.
          address: what follows `#`.
          script: body of an asynchronous function that runs at the end; the attribute
            `result` is what it returns.
        """
        more = (
            f"<script>(async () => {{ {script} }})().then("
            "(made) => document.documentElement.dataset.result = JSON.stringify(made ?? null), "
            "(error) => document.documentElement.dataset.result = JSON.stringify(String(error)))</script>"
        )
        path = self.folder / "page.html"
        page = page.replace("</head>", f"{_FRAMES}</head>").replace("</body>", f"{more}</body>")
        path.write_text(page, encoding="utf-8")
        command = [str(CHROMIUM), *_FLAGS, f"--user-data-dir={self.folder / 'profile'}", "--dump-dom"]
        done = subprocess.run(
            [*command, f"{path.as_uri()}#{address}"], capture_output=True, text=True, timeout=120, check=True
        )
        (tag,) = re.findall(r"<html[^>]*>", done.stdout)
        found: dict[str, Any] = {
            name: unescape(text) for name, text in re.findall(r'data-(\w+)="([^"]*)"', tag)
        }
        return found | {"result": json.loads(found["result"]), "document": done.stdout}
