"""The page of an estimator of synthesizer settings, read back as a browser would."""

from __future__ import annotations

import base64
import copy
import hashlib
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from isincnet_jax.inversynth import published as inversynth_published
from isincnet_jax.pages.inversynth import Sound, Version, write_matching_page

RATE = 8_000
NAMES = ("carrier_sine", "modulator_saw", "decay", "cutoff")
SCORES = {
    "num_clips": 9,
    "stft_mean": 91.25,
    "stft_median": 95.5,
    "linear_mean": 80.5,
    "linear_median": 85.5,
    "ft_mean": 88.125,
    "ft_median": 90.0,
}
RESULTS = {
    "model": "runs/<mine> & \ud800",
    "num_clips": 9,
    "seed": 4,
    "command": "evaluate --out a<b",
    "parameters": [
        {
            "name": name,
            **{f"top{k}": 10.0 * k + place for k in range(1, 6)},
            "mpr": 60.0 + place,
            "class_mae": 3.25,
        }
        for place, name in enumerate((*NAMES, "all"))
    ],
    "sounds": SCORES,
    "random": {**SCORES, "stft_mean": 30.375},
    "refinement": {
        "num_clips": 7,
        "num_steps": 60,
        "num_sweeps": 2,
        "median_before": 1.5,
        "median_after": 0.75,
        "improvement_percent": 50.0,
        "seconds_per_clip": 0.5,
        "sounds_before": {**SCORES, "stft_mean": 77.125},
        "sounds_after": {**SCORES, "stft_mean": 93.375},
    },
}


def _tone(pitch_hz: float, level: float) -> np.ndarray:
    return level * np.sin(2 * np.pi * pitch_hz * np.arange(RATE) / RATE)


def _sounds() -> list[Sound]:
    values = {name: 0.5 + place for place, name in enumerate(NAMES)}
    return [
        Sound(
            "Sound 1",
            [
                Version("Original", _tone(500, 2.0), values),
                Version("Estimate", _tone(500, 0.5), {**values, "decay": 0.125}, "distance 1.50"),
                Version("Refined", _tone(1000, 1.0), values, "distance 0.75"),
            ],
        )
    ]


class _Reader(HTMLParser):
    """Tables by rows of texts, sources of media, and all text."""

    def __init__(self) -> None:
        super().__init__()
        self.tables, self.sources, self.text = [], {"img": [], "audio": []}, []
        self.policy = self.style = ""
        self._cell = self._in_style = False

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self._in_style = tag == "style"
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._cell = True
        elif tag in self.sources:
            self.sources[tag].append(found["src"])
        elif tag == "meta" and "http-equiv" in found:
            self.policy = found["content"]

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data):
        self.text.append(data)
        if self._in_style:
            self.style += data
            self._in_style = False
        elif self._cell:
            self.tables[-1][-1][-1] += data


def _read(path) -> _Reader:
    reader = _Reader()
    reader.feed(path.read_text("utf-8"))
    return reader


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "index.html"
    units = {"carrier_sine": "Hz", "decay": "s"}
    assert write_matching_page(RESULTS, path, sounds=_sounds(), units=units, sample_rate=RATE) == (
        path
    )
    return _read(path)


def test_measured_figures_stand_beside_the_published_ones(page):
    rows = {row[0]: row[1:] for row in page.tables[0]}
    assert rows["This model"] == [
        "64.00",
        "14.00",
        "3.25",
        "91.25",
        "95.50",
        "80.50",
        "85.50",
        "88.12",
        "90.00",
    ]
    assert rows["Random patches"][:4] == ["53.12", "6.25", "5.31", "30.38"]
    assert rows["its estimates of 7 sounds"][3] == "77.12"
    assert rows["the same, refined"][3] == "93.38"
    assert rows["C6XL (published)"] == ["77.90", "51.00", "2.27", "92.04", "95.61", *["–"] * 4]
    assert rows["C3 (published)"][0] == "76.51"
    assert len(rows) == 5 + len(inversynth_published.NETWORKS)


def test_every_parameter_has_its_scores_and_the_published_rank(page):
    rows = {row[0]: row[1:] for row in page.tables[1]}
    assert rows["carrier_sine"] == ["10.0", "20.0", "30.0", "40.0", "50.0", "3.25", "60.0", "81.0"]
    assert rows["modulator_saw"][-1] == "68.0"
    assert rows["decay"][-1] == "chance"
    assert rows["all"][-2:] == ["64.0", "77.9"]


def test_sounds_of_a_row_keep_their_levels_to_each_other(page):
    peaks = []
    for source in page.sources["audio"]:
        content = base64.b64decode(source.removeprefix("data:audio/flac;base64,"))
        samples, rate = soundfile.read(io.BytesIO(content))
        assert (rate, len(samples)) == (RATE, RATE)
        peaks.append(np.max(np.abs(samples)))
    np.testing.assert_allclose(peaks, [1.0, 0.25, 0.5], atol=1e-3)


def test_pictures_show_the_pitch(page):
    image = pytest.importorskip("matplotlib.image")
    levels = []
    for source in page.sources["img"]:
        content = base64.b64decode(source.removeprefix("data:image/png;base64,"))
        levels.append(image.imread(io.BytesIO(content))[..., :3].sum(axis=(1, 2)))
    rows = [len(level) - 1 - int(np.argmax(level)) for level in levels]  # from the lowest
    assert rows == pytest.approx([16, 16, 32], abs=1)  # of 128 up to 4 kHz


def test_parameters_stand_side_by_side(page):
    assert page.tables[2][0] == ["", "Original", "Estimate", "Refined"]
    rows = {row[0]: row[1:] for row in page.tables[2][1:]}
    assert rows["decay, s"] == ["2.5", "0.125", "2.5"]
    assert list(rows) == ["carrier_sine, Hz", "modulator_saw", "decay, s", "cutoff"]


def test_the_page_needs_nothing_from_elsewhere_and_quotes_names(page):
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page.policy
    assert "default-src 'none'" in page.policy
    text = "".join(page.text)
    assert "runs/<mine> & " in text
    assert "evaluate --out a<b" in text
    sources = [source for found in page.sources.values() for source in found]
    assert len(sources) == 6
    assert all(source.startswith("data:") for source in sources)


def test_without_refinement_and_sounds_their_sections_are_hidden(tmp_path):
    results = copy.deepcopy(RESULTS)
    del results["refinement"]
    path = write_matching_page(results, tmp_path / "a" / "page.html")
    text = path.read_text("utf-8")
    hidden = re.findall(r'<section aria-labelledby="(\w+)-title" hidden>', text)
    assert hidden == ["refined", "listen"]
    assert "refined" not in [row[0] for row in _read(path).tables[0]]
    assert [item.name for item in path.parent.iterdir()] == ["page.html"]


def test_a_sound_without_samples_is_refused_and_nothing_is_written(tmp_path):
    empty = Sound("Sound 1", [Version("Original", np.zeros(0), {})])
    with pytest.raises(ValueError, match="Sound 1: give an original"):
        write_matching_page(RESULTS, tmp_path / "page.html", sounds=[empty])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", ["parameters", "sounds", "refinement"])
def test_results_that_lack_a_figure_are_refused_by_its_name(tmp_path, part):
    results = copy.deepcopy(RESULTS)
    found = results[part][0] if part == "parameters" else results[part]
    name = {"parameters": "class_mae", "sounds": "ft_mean", "refinement": "median_after"}[part]
    del found[name]
    with pytest.raises(KeyError, match=name):
        write_matching_page(results, tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def test_silence_is_drawn(tmp_path):
    silent = Sound("Sound 1", [Version("Original", np.zeros(RATE), {})])
    path = write_matching_page(RESULTS, tmp_path / "p.html", sounds=[silent], sample_rate=RATE)
    assert len(_read(path).sources["audio"]) == 1
