"""The page of a benchmark: what stands in it, read with an HTML parser, and what is refused."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
import report_data
import report_reader
import soundfile

from isincnet_jax.pages import media as report_media


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Results with sounds of half a second, and their folder."""
    folder = tmp_path_factory.mktemp("report")
    return folder, report_data.make_results(folder, duration_s=0.5)


@pytest.fixture(scope="module")
def plain(made):
    """Their page."""
    return report_reader.page_of(*made)


def test_a_row_for_each_method_and_a_cell_for_each_column(plain):
    rows = plain.having("th", scope="row")
    assert [attributes["data-value"] for attributes, _ in rows] == [
        method[0] for method in report_data.METHODS
    ]
    heads = [
        text for attributes, text in plain.having("th", scope="col") if "aria-sort" in attributes
    ]
    assert [re.sub("[↑↓].*|dB$|1/s$|kbit/s$", "", head) for head in heads] == [
        "Method", "SNR", "SI-SDR", "MSE", "Log-spectral", "Convergence",
        "Speed", "Coefficients", "Bit rate", "Parameters", "Clips",
    ]  # fmt: skip
    cells = plain.having("td")
    points = sum(len(curve["points"]) for curve in plain.data["curves"])
    assert len(cells) - 4 * points == 12 * 10


def test_values_intervals_and_the_best_of_a_column(made, plain):
    _, results = made
    page = plain
    cells = page.having("td", **{"class": "number is-best"})
    best_speed = max(method["x_real_time"] for method in results["methods"])
    assert repr(best_speed) in [attributes["data-value"] for attributes, _ in cells]
    assert [text for a, text in cells if a["data-value"] == "inf"] == ["exact best"] * 2
    score = results["methods"][0]["scores"]["snr_db"]
    [(_, text)] = page.having("td", **{"data-value": repr(score["mean"])})
    assert text == f"{score['mean']:.1f}{score['low']:.1f} … {score['high']:.1f}"


def test_failed_and_undefined_clips_are_shown_with_their_reason(plain):
    texts = [text for _, text in plain.having("td", **{"class": "clips"})]
    assert texts[0].startswith("4 of 41 undefined")
    assert "silence undefined: SNR, SI-SDR" in texts[0]
    assert texts[3].startswith("3 of 41 failed, 1 undefined")
    assert "hiphop/hiphop.00031 failed: ValueError: 3 samples are fewer than a window" in texts[3]


def test_header_names_corpus_commit_device_and_command(made, plain):
    page = plain
    facts = dict(
        zip(*[[text for _, text in page.having(tag)] for tag in ("dt", "dd")], strict=True)
    )
    assert facts["Corpus"] == "gtzan_mini: 4 clips of 0.5 s, 16 kHz, at −23 dB loudness"
    assert (facts["Commit"], facts["Device"]) == ("c432b97d2a51", "2 cores, AMD EPYC")
    assert made[1]["command"] in [text for _, text in page.having("code")]
    dirty = report_reader.page_of(made[0], made[1] | {"uncommitted_changes": True})
    assert ("c432b97d2a51 with uncommitted changes") in [text for _, text in dirty.having("dd")]


def test_sounds_are_the_files_and_pictures_decode(made, plain):
    folder, results = made
    page = plain
    assert [clip["name"] for clip in page.data["clips"]] == [
        clip["name"] for clip in results["corpus"]["clips"]
    ]
    tracks = page.data["clips"][0]["tracks"]
    path = results["methods"][5]["audio"]["jazz/jazz.00012"]
    assert base64.b64decode(tracks[6]["audio"]) == (folder / path).read_bytes()
    assert tracks[0]["difference"] is None
    image = pytest.importorskip("PIL.Image")
    for kind in ("level", "difference", "error"):
        with image.open(io.BytesIO(base64.b64decode(tracks[6][kind]))) as picture:
            assert picture.size == (50, 128)
            assert np.asarray(picture.convert("RGB")).shape == (128, 50, 3)
    missing = page.data["clips"][2]["tracks"][4]
    assert (missing["audio"], missing["why"][:7]) == (None, "failed:")


def test_nothing_is_fetched_and_no_handler_stands_in_the_markup(plain):
    for tag, attributes in plain.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")
    [(policy, _)] = plain.having("meta", **{"http-equiv": "Content-Security-Policy"})
    digest = r"'sha256-[A-Za-z0-9+/]{43}='"
    assert re.fullmatch(
        "default-src 'none'; img-src data:; "
        f"style-src {digest}; script-src {digest}; base-uri 'none'; form-action 'none'",
        policy["content"],
    )


def test_exact_clips_beside_a_mean_and_skipped_files_are_said(tmp_path):
    results = report_reader.silent()
    results["methods"][0]["scores"]["snr_db"]["exact"] = 2
    results["methods"][1]["scores"]["mse"]["undefined"] = 3
    results["corpus"]["skipped"] = {f"{index}.wav": "empty" for index in range(7)}
    page = report_reader.page_of(tmp_path, results)
    assert sum(text.endswith("and 2 clips exact") for _, text in page.having("td")) == 1
    cells = [text for _, text in page.having("td", **{"class": "clips"})]
    assert "3 more of MSE" in cells[1]
    facts = [text for _, text in page.having("dd")]
    assert facts[-1].startswith("0.wav: empty; 1.wav: empty")
    assert facts[-1].endswith("4.wav: empty; and 2 more")


def test_a_method_that_is_a_point_of_a_curve_is_drawn_once(tmp_path):
    results = report_reader.silent()
    method = results["methods"][4]
    point = {"kbit_per_s": method["kbit_per_s"], "snr_db": method["scores"]["snr_db"]["mean"]}
    results["rate_distortion"] = [{"name": "one", "points": [point, {"kbit_per_s": 0.0}]}]
    curve, lone = report_reader.page_of(tmp_path, results).data["curves"]
    assert len(curve["points"]) == 1
    assert method["name"] not in [point["label"] for point in lone["points"]]
    assert len(lone["points"]) == 4


def heard(results):
    """The results with marginal rates and ViSQOL of the first curve's points, but the last's."""
    points = results["rate_distortion"][0]["points"]
    for index, point in enumerate(points[:-1]):
        point |= {"marginal_kbit_per_s": 0.5 * point["kbit_per_s"], "visqol": 1.0 + 0.25 * index}
    results["methods"][0]["marginal_kbit_per_s"] = 11.4
    return results


def test_axes_are_offered_where_something_was_measured(tmp_path):
    page = report_reader.page_of(tmp_path, heard(report_data.make_results(tmp_path, audio=False)))
    choices = [attributes["value"] for attributes, _ in page.having("option")]
    assert choices == ["rate", "marginal", "snr_db", "visqol"]
    first, *_ = page.data["curves"][0]["points"]
    assert (first["marginal"], first["visqol"]) == (0.5 * first["rate"], 1.0)
    assert page.data["curves"][0]["points"][-1]["marginal"] is None
    texts = [text for _, text in page.having("th", scope="col", **{"class": "number"})]
    assert texts[-4:] == ["kbit/s", "marginal kbit/s", "SNR (dB)", "ViSQOL (MOS)"]
    assert [text for a, text in page.having("td") if a.get("data-value") == "11.4"] == ["11.4 best"]


def test_axes_are_not_offered_without_a_choice(plain):
    [(attributes, _)] = plain.having("p", id="axes")
    assert "hidden" in attributes
    assert [a["value"] for a, _ in plain.having("option")] == ["rate", "snr_db"]


HOSTILE = """</script x><!--<script ><img src=x onerror=alert('2')>&amp;"'`${x}\\"""


def renamed(value, old: str, new: str):
    """A copy with one text replaced in keys and values."""
    if isinstance(value, dict):
        return {renamed(key, old, new): renamed(one, old, new) for key, one in value.items()}
    if isinstance(value, list):
        return [renamed(one, old, new) for one in value]
    return new if value == old else value


TEXTS = [
    "jazz/jazz.00012", "16khz-linear", "linear inverse", "gtzan_mini", "c432b97d2a51", "SNR",
    "dB", "uniform step + range coder", "q = 2", "solved", "2 cores, AMD EPYC", "jax",
    "ValueError: 3 samples are fewer than a window",
    "256 real coefficients/frame, 128 frames/s",
]  # fmt: skip


@pytest.fixture(scope="module")
def hostile(made):
    """A page on which each text is a hostile one of its own."""
    folder, results = made
    for index, old in enumerate(TEXTS):
        results = renamed(results, old, f"{index}{HOSTILE}")
    return report_reader.page_of(folder, results)


def test_hostile_texts_change_no_element(plain, hostile):
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in plain.elements]
    for (_, attributes), (_, usual) in zip(hostile.elements, plain.elements, strict=True):
        assert attributes.keys() == usual.keys()


@pytest.mark.parametrize("old", TEXTS)
def test_hostile_texts_stay_texts(hostile, old):
    text = f"{TEXTS.index(old)}{HOSTILE}"
    everything = " ".join(hostile.texts.values()) + json.dumps(hostile.data, ensure_ascii=False)
    assert text in everything or json.dumps(text)[1:-1] in everything


def test_half_a_surrogate_pair_in_a_name_is_written(made):
    folder, results = made
    page = report_reader.page_of(folder, renamed(results, "16khz-linear", "\ud800-linear"))
    assert page.data["clips"][0]["tracks"][1]["name"] == "\ud800-linear"


def test_without_audio_and_curves_both_sections_are_hidden(tmp_path):
    page = report_reader.page_of(tmp_path, report_reader.silent(rate_distortion=None))
    for name, is_hidden in (("scores", False), ("rates", True), ("listen", True)):
        [(attributes, _)] = page.having("section", id=name)
        assert ("hidden" in attributes) is is_hidden
    assert not page.having("details", id="problems")
    assert page.data["clips"] == page.data["curves"] == []


def test_methods_with_a_bit_rate_stand_beside_the_curves(plain):
    *curves, lone = plain.data["curves"]
    assert [len(curve["points"]) for curve in curves] == [11] * 4
    assert lone["lone"] is True  # flac is exact: no point
    assert [point["label"] for point in lone["points"]][:2] == [
        "opus, 32 kbit/s", "uniform step + range coder",
    ]  # fmt: skip
    rates = [point["rate"] for point in lone["points"]]
    assert rates == sorted(rates)


def test_broken_audio_is_said_and_the_rest_goes_on(made, tmp_path):
    results = report_data.make_results(tmp_path, duration_s=0.2)
    clip, audio = "jazz/jazz.00012", [method["audio"] for method in results["methods"]]
    audio[0][clip] = "audio/gone.flac"
    (tmp_path / audio[1][clip]).write_bytes(b"fLaC and nothing else")
    audio[2][clip] = "../../../../etc/passwd"
    soundfile.write(tmp_path / "other.flac", np.ones(800) / 4, 8000)
    audio[3][clip] = "other.flac"
    soundfile.write(tmp_path / "nan.wav", np.array([0.1, np.nan]), 16_000, subtype="FLOAT")
    audio[4][clip] = "nan.wav"
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    audio[5][clip] = "empty.wav"
    soundfile.write(tmp_path / "short.wav", np.ones((90, 2)) / 4, 16_000)
    audio[6][clip] = "short.wav"
    audio[7][clip] = "nul\0byte.flac"
    page = report_reader.page_of(tmp_path, results, clips=[clip])
    [(_, text)] = page.having("details", id="problems")
    for part in (
        "audio/gone.flac: cannot be read: No such file",
        f"{audio[1][clip]}: cannot be read",
        "passwd: lies outside the folder of the results",
        "other.flac: 8000 Hz, not 16000 Hz: no pictures",
        "nan.wav: holds samples that are not finite",
        "empty.wav: holds no samples",
        "nul\\x00byte.flac",
    ):
        assert part in text
    tracks = page.data["clips"][0]["tracks"]
    playable = [index for index, track in enumerate(tracks) if track["audio"]]
    assert playable == [0, 4, 7, 9, 10, 11, 12]
    rewritten, rate = soundfile.read(io.BytesIO(base64.b64decode(tracks[7]["audio"])))
    assert (rewritten.shape, rate) == ((90, 2), 16_000)
    assert tracks[4]["level"] is None
    assert tracks[7]["error"]


def test_a_clip_beyond_the_limit_is_left_out_whole_and_said(made, plain):
    folder, results = made
    whole = plain
    sizes = [report_media.text_bytes(media(clip)) for clip in whole.data["clips"]]
    limit = (sizes[0] + sizes[1]) / 1e6 + 1e-6
    page = report_reader.page_of(folder, results, max_embedded_mb=limit)
    assert [clip["name"] for clip in page.data["clips"]][:2] == [
        clip["name"] for clip in whole.data["clips"]
    ][:2]
    assert sum(report_media.text_bytes(media(clip)) for clip in page.data["clips"]) <= limit * 1e6
    [(_, text)] = page.having("details", id="problems")
    assert "hiphop/hiphop.00031: left out" in text
    assert report_reader.page_of(folder, results, max_embedded_mb=0).data["clips"] == []


def media(clip: dict) -> list[dict]:
    kinds = ("audio", "level", "difference", "error")
    return [{kind: track.get(kind) for kind in kinds} for track in clip["tracks"]]


def test_chosen_clips_come_in_the_order_asked_for(made):
    names = ["silence", "jazz/jazz.00012", "silence"]
    assert [
        clip["name"] for clip in report_reader.page_of(*made, clips=names).data["clips"]
    ] == names[:2]
