"""One self-contained page of an estimator of synthesizer settings: tables, and sounds to hear."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from isincnet_jax import files, provenance
from isincnet_jax.inversynth import published as inversynth_published
from isincnet_jax.inversynth import scores as parameter_scores
from isincnet_jax.pages import media as report_media

_NUM_LEVELS = 16


class Version(NamedTuple):
    """An original, or what it was matched with.

    Attributes:
        title: "Original", "Estimate" or "Refined".
        waveform: [time].
        values: of the parameters, by name.
        remark: a few words, such as its distance from the original.
    """

    title: str
    waveform: Float[np.ndarray, " time"]
    values: Mapping[str, float]
    remark: str = ""


class Sound(NamedTuple):
    """A sound to listen to.

    Attributes:
        title: of it.
        versions: the original first, then those that should sound like it.
    """

    title: str
    versions: Sequence[Version]


def write_matching_page(
    results: Mapping[str, Any],
    html_path: str | Path,
    *,
    sounds: Sequence[Sound] = (),
    units: Mapping[str, str] | None = None,
    sample_rate: int = 16_384,
) -> Path:
    """Writes the page: one HTML file that needs no network, all or nothing.

    Args:
        results: "model", "num_clips", "parameters" (of
            :meth:`.scores.ParameterScore.as_dict`, "all" last), "sounds" and "random" (of
            :meth:`.scores.SoundScore.as_dict`); where there is one, "refinement":
            "num_clips", "num_steps", "num_sweeps", "median_before", "median_after",
            "improvement_percent", "seconds_per_clip", "sounds_before", "sounds_after"; and facts:
            "command", "date", "commit", "device", "seed", "versions".
        html_path: file to write; an older one is replaced.
        sounds: to listen to.
        units: of the parameters, by name.
        sample_rate: of the sounds, Hz.

    Returns:
        The path of the page.

    Raises:
        KeyError: for results that lack what they must have.
        ValueError: for sounds without a version or without samples.
        OSError: if it cannot be written.
    """
    path = Path(html_path)
    own = resources.files("isincnet_jax.pages") / "inversynth_page"
    shared = resources.files("isincnet_jax.pages") / "benchmark_page"
    style = (shared / "page.css").read_text("utf-8") + (own / "page.css").read_text("utf-8")
    refinement = results.get("refinement")
    text = Template((own / "page.html").read_text("utf-8")).substitute(
        policy="default-src 'none'; img-src data:; media-src data:; "
        f"style-src '{_hash_source(style)}'; base-uri 'none'; form-action 'none'",
        style=style,
        facts=_facts(results),
        command=escape(str(results.get("command") or "not recorded")),
        compared=_compared(results),
        refined_hidden="" if refinement else "hidden",
        refined=_refinement(refinement) if refinement else "",
        parameters=_parameters(results["parameters"]),
        listen_hidden="" if sounds else "hidden",
        playback=f"Each picture shows 1 s up to {sample_rate / 2000:.1f} kHz, down to "
        f"{-report_media.FLOOR_DB:.0f} dB below the loudest cell of the original. The sounds of a "
        "row are played at one level, turned down where one of them is beyond full scale.",
        clips="\n".join(_sound(sound, units or {}, sample_rate) for sound in sounds),
    )
    # A name may hold half a surrogate pair: HTML has a reference for it, UTF-8 has nothing.
    files.write_text(path, text.encode("utf-8", "xmlcharrefreplace").decode("utf-8"))
    return path


def _hash_source(text: str) -> str:
    """The source expression of a content security policy for exactly this inline text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _facts(results: Mapping[str, Any]) -> str:
    versions = results.get("versions") or {}
    facts = {
        "Model": results["model"],
        "Sounds": f"{results['num_clips']} fresh ones, 1 s each",
        "Seed": results.get("seed", "not recorded"),
        "Date": results.get("date") or "not recorded",
        "Commit": provenance.code_text(results),
        "Device": results.get("device") or "not recorded",
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    return "".join(
        f'<div class="{"wide" if name == "Versions" else "fact"}"><dt>{name}</dt>'
        f"<dd>{escape(str(fact))}</dd></div>"
        for name, fact in facts.items()
        if fact != ""
    )


def _number(value: float | None, digits: int = 2) -> str:
    return '<td class="none">–</td>' if value is None else f"<td>{value:.{digits}f}</td>"


def _row(name: str, cells: Iterable[str], kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<tr{attribute}><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>'


def _table(heads: Sequence[str], rows: Iterable[str]) -> str:
    cells = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    return f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody>"


def _compared(results: Mapping[str, Any]) -> str:
    """This model, the published ones and chance."""
    heads = ("", "MPR", "top-1", "class MAE", "STFT mean", "STFT median")
    heads += ("linear mean", "linear median", "FT mean", "FT median")
    correlations = ("stft_mean", "stft_median", "linear_mean", "linear_median")
    correlations += ("ft_mean", "ft_median")

    def measured(score: Mapping[str, Any], ranks: Sequence[float | None]) -> list[str]:
        return [*map(_number, ranks), *(_number(score[key]) for key in correlations)]

    total = results["parameters"][-1]
    ranks = (total["mpr"], total["top1"], total["class_mae"])
    # Two independent uniform levels are (n^2 - 1) / (3 n) apart.
    chance = (
        parameter_scores.chance_mpr(_NUM_LEVELS),
        100.0 / _NUM_LEVELS,
        (_NUM_LEVELS**2 - 1) / (3 * _NUM_LEVELS),
    )
    rows = [_row("This model", measured(results["sounds"], ranks), "own")]
    refinement = results.get("refinement")
    if refinement:
        few = refinement["num_clips"]
        nothing = (None, None, None)
        rows.append(
            _row(f"its estimates of {few} sounds", measured(refinement["sounds_before"], nothing))
        )
        rows.append(_row("the same, refined", measured(refinement["sounds_after"], nothing)))
    if results.get("random"):
        rows.append(_row("Random patches", measured(results["random"], chance)))
    for published in inversynth_published.NETWORKS:
        cells = (
            *(published.mpr, published.top1, published.class_mae),
            *(published.stft_mean, published.stft_median, None, None, None, None),
        )
        rows.append(_row(f"{published.name} (published)", map(_number, cells)))
    return _table(heads, rows)


def _refinement(refinement: Mapping[str, Any]) -> str:
    return (
        f"Over {refinement['num_clips']} sounds, the median spectral distance falls from "
        f"{refinement['median_before']:.3f} to <b>{refinement['median_after']:.3f}</b>: "
        f"<b>{refinement['improvement_percent']:.1f}&nbsp;% less</b>, by {refinement['num_steps']} "
        f"gradient steps and {refinement['num_sweeps']} searches through the levels of all "
        f"parameters, {refinement['seconds_per_clip']:.2f} s a sound on this device."
    )


def _parameters(scores: Sequence[Mapping[str, Any]]) -> str:
    tops = [f"top{k}" for k in parameter_scores.TOP]
    heads = (
        "",
        *(f"top-{k}" for k in parameter_scores.TOP),
        *("class MAE", "MPR", "MPR, published"),
    )
    rows = []
    for score in scores:
        is_total = score["name"] == "all"
        wanted = (
            inversynth_published.NETWORKS[0].mpr
            if is_total
            else inversynth_published.parameter_mpr(score["name"])
        )
        cells = [
            *(_number(score[top], 1) for top in tops),
            _number(score["class_mae"]),
            f"<td>{score['mpr']:.1f}{_bar(score['mpr'])}</td>",
            '<td class="none">chance</td>' if wanted is None else _number(wanted, 1),
        ]
        rows.append(_row("all" if is_total else score["name"], cells, "total" if is_total else ""))
    return _table(heads, rows)


def _bar(mpr: float) -> str:
    """An SVG: a width in a style attribute would need a hash for each in the policy."""
    least = parameter_scores.chance_mpr(_NUM_LEVELS)
    share = min(1.0, max(0.0, (mpr - least) / (100.0 - least)))
    return (
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{100 * share:.1f}" height="8"/></svg>'
    )


def _sound(sound: Sound, units: Mapping[str, str], sample_rate: int) -> str:
    if not sound.versions or any(not len(version.waveform) for version in sound.versions):
        raise ValueError(f"{sound.title}: give an original and its matches, with samples")
    waveforms = [np.asarray(version.waveform, np.float64) for version in sound.versions]
    gain = 1.0 / max(1.0, *(float(np.max(np.abs(waveform))) for waveform in waveforms))
    powers = [
        report_media.spectrogram_power(waveform, sample_rate=sample_rate) for waveform in waveforms
    ]
    peak = float(np.max(powers[0])) or 1.0
    figures = "".join(
        _figure(sound.title, version, waveform * gain, power / peak, sample_rate)
        for version, waveform, power in zip(sound.versions, waveforms, powers, strict=True)
    )
    return (
        f'<article class="sound"><h3>{escape(sound.title)}</h3>'
        f'<div class="versions">{figures}</div>'
        f'<details><summary>Parameters</summary><div class="scroll"><table class="figures">'
        f"{_values(sound.versions, units)}</table></div></details></article>"
    )


def _figure(
    title: str, version: Version, waveform: np.ndarray, power: np.ndarray, sample_rate: int
) -> str:
    decibels = report_media.decibels(power, reference=1.0)
    indices = report_media.levels(decibels, low=report_media.FLOOR_DB, high=0.0)[::-1]
    picture = _base64(report_media.encode_png(indices, colors=report_media.HEAT))
    content = report_media.as_flac(waveform, sample_rate)
    label = escape(f"{title}, {version.title}")
    return (
        f"<figure><figcaption><b>{escape(version.title)}</b>"
        f"<span>{escape(version.remark)}</span></figcaption>"
        f'<img alt="Spectrogram of {label}" src="data:image/png;base64,{picture}">'
        f'<audio controls preload="metadata" aria-label="{label}" '
        f'src="data:audio/flac;base64,{_base64(content)}"></audio></figure>'
    )


def _values(versions: Sequence[Version], units: Mapping[str, str]) -> str:
    def text(value: float | None) -> str:
        return "<td>" + ("–" if value is None else f"{value:.4g}") + "</td>"

    rows = []
    for name in versions[0].values:
        unit = f", {units[name]}" if units.get(name) else ""
        rows.append(_row(name + unit, (text(version.values.get(name)) for version in versions)))
    return _table(("", *(version.title for version in versions)), rows)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
