"""Reports of made-up runs without slices, and what a browser shows of them."""

import json
import re

from dacapo_hd.manager import RunManager


def made(store, path, names=(), **options):
    return RunManager(store).report(names, path, slices=False, **options)


def document(path):
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', path.read_text(), re.DOTALL)
    return json.loads(found[1])


def texts(page, selector):
    return page.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((node) => node.textContent)")
