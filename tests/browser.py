"""Chromium without a window, driven through its debugging pipe: what a page says, draws and asks for."""

import base64
import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe"),
)


class Page:
    """A tab; `complaints` collects console errors, warnings and exceptions, `requests` the addresses it asked for."""

    def __init__(self, to_browser, from_browser):
        self._to, self._from = to_browser, from_browser
        self._number = 0
        self._session = None
        self.complaints, self.requests, self.loads = [], [], 0
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while (reply := self._receive()).get("id") != self._number:
            pass
        assert "error" not in reply, reply["error"]
        return reply["result"]

    def _receive(self):
        data = bytearray()
        while (byte := self._from.read(1)) != b"\0":
            assert byte, "the browser is gone"
            data += byte
        message = json.loads(data)
        self._note(message.get("method"), message.get("params"))
        return message

    def _note(self, method, params):
        if method == "Network.requestWillBeSent" and not params["request"]["url"].startswith("data:"):
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(params["args"])
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"])
        elif method == "Page.loadEventFired":
            self.loads += 1

    def open(self, path, width=1280, height=900, dark=False):
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        loads = self.loads
        self.send("Page.navigate", url=Path(path).resolve().as_uri())
        while self.loads == loads:
            self._receive()

    def resize(self, width, height):
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def run(self, script):
        """Return what an expression, or the promise that it is, comes to."""
        found = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def box(self, node):
        """Return where an element is in the window: x, y, width, height."""
        return self.run(f"(({{x, y, width, height}}) => [x, y, width, height])({node}.getBoundingClientRect())")

    def until(self, condition):
        """Wait for frame after frame until an expression is true."""
        self.run(f"(async () => {{ while (!({condition})) await new Promise(requestAnimationFrame); }})()")

    def press(self, *keys):
        """Press keys, by their names in `KeyboardEvent.key`."""
        codes = {"ArrowRight": 39, "ArrowLeft": 37, "End": 35, "Home": 36, "Enter": 13, "Tab": 9, " ": 32}
        for key in keys:
            text = {"text": "\r"} if key == "Enter" else {}
            for kind in ("keyDown", "keyUp"):
                one = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key], **text}
                self.send("Input.dispatchKeyEvent", type=kind, **one)

    def move(self, x, y):
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screenshot(self, path, whole=True):
        """Write a PNG of the whole page, or of what fits into the window."""
        data = self.send("Page.captureScreenshot", captureBeyondViewport=whole, **self._clip(whole))["data"]
        Path(path).write_bytes(base64.b64decode(data))
        return path

    def _clip(self, whole):
        if not whole:
            return {}
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}


@contextmanager
def browsing(folder):
    """A page in a browser of its own, whose profile lies in `folder`."""
    browser_reads, to_browser = os.pipe()
    from_browser, browser_writes = os.pipe()
    # the browser expects its pipe at 3 and 4, which may be taken in this process
    script = f'exec 3<&{browser_reads} 4>&{browser_writes}; exec "$@"'
    command = ["bash", "-c", script, "bash", CHROMIUM, *OPTIONS, f"--user-data-dir={folder}/profile"]
    with subprocess.Popen(
        command, pass_fds=(browser_reads, browser_writes), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        os.close(browser_reads)
        os.close(browser_writes)
        try:
            with os.fdopen(to_browser, "wb") as writing, os.fdopen(from_browser, "rb") as reading:
                yield Page(writing, reading)
                process.kill()
        finally:
            process.kill()
