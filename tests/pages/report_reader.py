"""A page of a benchmark as tests read it."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import report_data

from isincnet_jax.pages.benchmark import write_report

VOID = {"meta", "link", "input", "br", "img"}


class Reader(HTMLParser):
    """Elements with attributes and texts; complains about tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[int, str] = {}
        self._open: list[tuple[str, int]] = []
        self.feed(text)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        if tag not in VOID:
            self._open.append((tag, len(self.elements)))
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open
        assert self._open.pop()[0] == tag, tag

    def handle_data(self, data):
        for _, index in self._open:
            self.texts[index] = self.texts.get(index, "") + data

    def having(self, tag: str, **wanted: str) -> list[tuple[dict[str, str | None], str]]:
        return [
            (attributes, self.texts.get(index, ""))
            for index, (one, attributes) in enumerate(self.elements)
            if one == tag and all(attributes.get(key) == value for key, value in wanted.items())
        ]

    @property
    def data(self):
        [(_, text)] = self.having("script", id="data")
        return json.loads(text)


def page_of(folder: Path, results: dict, **options) -> Reader:
    """The page of results that are saved in a folder."""
    path = report_data.save(folder, results)
    return Reader(write_report(path, folder / "page.html", **options).read_text("utf-8"))


def silent(**changes) -> dict:
    """Results without any audio."""
    return json.loads(json.dumps(report_data.make_results(Path(), audio=False) | changes))
