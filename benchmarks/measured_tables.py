"""Tables of measured results: each function takes results files by name, and returns Markdown.

``measured.py`` puts them into README.md and docs/measured/.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from isincnet_jax.benchmark import tables
from isincnet_jax.inversynth import published
from isincnet_jax.pages import ablation_table

Result = Mapping[str, Any]
_SHOWN = ("mse", "mae", "snr_db", "convergence_db", "log_spectral_db", "visqol")
_QUALITY = {
    "snr_db": ("SNR, dB", ".1f"),
    "visqol": ("ViSQOL, audio mode", ".2f"),
    "visqol_speech": ("ViSQOL, speech mode", ".2f"),
    "pesq": ("PESQ-WB", ".2f"),
    "stoi": ("STOI", ".3f"),
    "estoi": ("ESTOI", ".3f"),
}
_INPUT = {"linear": "magnitudes", "mel_slaney": "80 mels"}


def command(result: Result) -> str:
    """What reproduces a result, from the root of a checkout."""
    given = result["command"]
    return given if given.startswith(("python ", "isincnet ")) else f"python experiments/{given}"


def _table(head: str, rows: Iterable[Sequence[str]]) -> str:
    """Markdown; the titles stand between bars."""
    titles = head.split("|")
    lines = (titles, ["---"] * len(titles), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Result, **formats: str) -> list[str]:
    """Numbers of a row by their formats, nothing where there is none."""
    numbers = {key: value for key, value in row.items() if isinstance(value, (int, float))}
    return [f"{numbers[key]:{form}}" if key in numbers else "" for key, form in formats.items()]


def _ratio(row: Result) -> str:
    low, high = row["ratio_lower_quartile"], row["ratio_upper_quartile"]
    return f"{row['ratio']:.2f} ({low:.2f}-{high:.2f})"


def _fastest(peers: Sequence[Result]) -> dict[str, Result]:
    """Peers by name; of librosa with and without threads the faster."""
    found: dict[str, Result] = {}
    for peer in peers:
        name = peer["peer"].removesuffix(", 2 threads")
        if name not in found or peer["ratio"] < found[name]["ratio"]:
            found[name] = peer
    return found


def round_trips(exactness: Result) -> str:
    rows = []
    for name, row in {**exactness["presets"], **exactness["peers"]}.items():
        shortest = min(value for value in row["lengths_db"].values() if value != "exact")
        (longest,) = _cells(row, longest_db=".1f")
        longest += f" ({row['longest_s'] / 60:.0f} min)" if longest else ""
        clips = _cells(row, sample_rate="d", worst_db=".1f", mean_db=".1f")
        double = _cells(row.get("float64", {}), worst_db=".0f")
        rows.append((name, *clips, f"{shortest:.1f}", longest, *double))
    mel = next(row["mel_projection"] for row in exactness["presets"].values())
    head = "codec|rate|clips: worst|clips: mean|lengths 1, 2, 3, 124 ... 100,003: worst|longest"
    return (
        f"{_table(f'{head}|float64: worst', rows)}\n\nThe mel projection of `16khz-linear` (128 "
        f"bins, lossy by nature) returns {mel['mean_db']:.1f} dB on average, "
        f"{mel['worst_db']:.1f} at worst."
    )


def random_banks(random_specs: Result) -> str:
    told = {"exact": "exact", "float64": "exact in float64", "none": "neither"}
    rows = [
        (text, *_cells(random_specs[name], banks="d", worst_db=".1f", below_115_db="d"))
        for name, text in told.items()
    ]
    lowest = min(random_specs["rows"], key=lambda row: row["measured_db"])
    spec = lowest["spec"]
    kinds = (*(name for name in ("causal", "tight") if spec[name]), spec["component"])
    return (
        f"{_table('told of the bank|banks|worst, dB|below 115 dB', rows)}\n\n"
        f"Predicted within 6 dB: {100 * random_specs['predicted_db']['within_6_db']:.1f} % of "
        f"banks for the clip's length, {100 * random_specs['told_db']['within_6_db']:.1f} % for "
        f"any. Lowest: {lowest['measured_db']:.1f} dB, predicted {lowest['predicted_db']:.1f}, by "
        f"{spec['num_bins']} {' '.join(kinds)} bins ({spec['scale']}, {spec['shape']}, "
        f"{spec['window']}) at hop {spec['hop_length']}, condition number "
        f"{lowest['condition']:.2g}."
    )


def token_snr(tokens: Result) -> str:
    shown = ("4", "6", "8", "10", "12", "16")
    rows = [
        (name, *(f"{bits[b]['mean_db']:.1f} ({bits[b]['min_db']:.1f})" for b in shown))
        for name, bits in tokens["bits"].items()
    ]
    return _table("|".join(("code and decoder", *shown)), rows)


def token_banks(tokens: Result) -> str:
    formats = dict.fromkeys(("mean_db", "min_db", "raw_kbps", "entropy_kbps"), ".1f")
    found = {**tokens["banks_8_bits"], **tokens["mu"]}
    rows = [(name, *_cells(row, **formats)) for name, row in found.items()]
    return _table("8 bits|SNR, dB|worst clip|raw kbit/s|entropy of order 0, kbit/s", rows)


def token_rounds(token_rounds: Result) -> str:
    formats = dict.fromkeys(("round 1", "round 10", "round 500", "slice", "shift"), ".5g")
    rows = [
        (
            f"{row['snr_db']:g} dB",
            *_cells(row, **formats),
            f"{row['clips_without_change']} of {token_rounds['clip_count']}",
        )
        for row in token_rounds["rows"]
    ]
    return _table("|after 1|after 10|after 500|slices|shifts|clips without any change", rows)


def damaged_tokens(fuzz_tokens: Result) -> str:
    rows = [(row["damage"], *_cells(row, refused="d", decoded="d")) for row in fuzz_tokens["rows"]]
    return (
        f"{_table('damage|refused|decoded', rows)}\n\nThe slowest took "
        f"{fuzz_tokens['slowest_s']:.2f} s; memory grew by {fuzz_tokens['grown_mib']:.0f} MiB."
    )


def rates(rate: Result) -> str:
    formats = dict.fromkeys(("snr_db", "file_kbps", "marginal_kbps", "order0_kbps"), ".1f")
    formats |= {"encode_x_real_time": ".0f", "decode_x_real_time": ".0f"}
    rows = [
        (group, name, *_cells(row, **formats))
        for group, found in rate.items()
        if isinstance(found, dict) and group != "versions"
        for name, row in found.items()
    ]
    head = "code||SNR, dB|kbit/s of the file|marginal|entropy of order 0|encode, x real time|decode"
    return _table(head, rows)


def lapped_speed(lapped: Result) -> str:
    rows = [
        (
            row["peer"],
            f"{row['batch']} x {row['seconds']:g} s",
            *(_ratio(row[what]) for what in ("encode", "decode")),
            *(f"{row[what]['ours_times_real_time']:.0f}" for what in ("encode", "decode")),
            *(f"{row[key]:.1f}" for key in ("snr_db", "peer_snr_db")),
        )
        for row in lapped["rows"]
    ]
    head = (
        "peer|clips|encode: its time / ours (quartiles)|decode|encode, x real time|decode|SNR, dB|"
        "peer's"
    )
    version = f"PyTorch {lapped['versions']['torch']}, torch-mdct {lapped['torch_mdct']}"
    return f"{_table(head, rows)}\n\n{version}."


def lossless_files(lossless: Result) -> str:
    formats = {"clips": "d", "snr_db": ".0f", "base_kbps": ".1f", "file_kbps": ".1f"}
    formats |= {"flac_kbps": ".1f", "of_flac_percent": ".1f", "worst_of_flac_percent": ".1f"}
    formats |= {"encode_x_real_time": ".0f", "decode_x_real_time": ".0f"}
    rows = [(row["set"], *_cells(row, **formats)) for row in lossless["table"]]
    head = (
        "set|clips|base, dB|base, kbit/s|file, kbit/s|FLAC -8|% of FLAC|worst clip|encode, x real "
        "time|decode"
    )
    return _table(head, rows)


def ears(ears: Result) -> str:
    formats = {"kbps": ".1f", "side_kbps": ".2f", "quality": ".1f", "snr_db": ".1f"}
    formats |= {"visqol": ".2f", "pesq": ".2f", "stoi": ".3f"}
    rows = []
    for group, found in ears["sets"].items():
        for name, row in found.items():
            cells = dict(zip(formats, _cells(row, **formats), strict=True))
            cells["quality"] = "" if name.startswith("one step") else cells["quality"]
            rows.append((f"{group}, {row['clips']} clips", name, *cells.values()))
    head = "clips|steps|kbit/s of the file|of it indices|quality|SNR, dB|ViSQOL|PESQ|STOI"
    used = (f"{name} {ears['versions'][name]}" for name in ("visqol-python", "pesq", "pystoi"))
    return f"{_table(head, rows)}\n\nBy {', '.join(used)}."


def ears_choice(ears_choice: Result) -> str:
    formats = {"kbps": ".1f", "side_kbps": ".2f", "visqol": ".3f", "pesq": ".2f"}
    rows = [
        (f"{group}, {row['clips']} clips", name, *_cells(row, **formats))
        for group, found in ears_choice["sets"].items()
        for name, row in found.items()
    ]
    return _table("training clips||kbit/s|of it indices|ViSQOL|PESQ", rows)


def rate_quality(rate_quality: Result) -> str:
    parts = []
    for title, found in rate_quality["sets"].items():
        shown = {key: _QUALITY[key] for key in found["rows"][0]["scores"]}
        rows = [
            (
                row["name"],
                *_cells(row, file_kbps=".1f", marginal_kbps=".1f", fixed_kbit=".1f"),
                *(_interval(row["scores"][key], form) for key, (_, form) in shown.items()),
            )
            for row in found["rows"]
        ]
        titles = "|".join(text for text, _ in shown.values())
        head = f"method|kbit/s of the file|marginal|fixed part, kbit|{titles}"
        parts += [f"**{title}**, {len(found['clips'])} clips:", _table(head, rows)]
    late = max(abs(row["shift"]) for one in rate_quality["sets"].values() for row in one["rows"])
    return "\n\n".join((*parts, f"No row comes more than {late} samples early or late."))


def beside_opus(rate_quality: Result) -> str:
    rows = []
    for title, found in rate_quality["sets"].items():
        scores = [key for key in ("visqol", "visqol_speech", "pesq", "estoi")
                  if key in found["rows"][0]["scores"]]  # fmt: skip
        curves: dict[str, list[Result]] = {}
        for row in found["rows"]:
            curves.setdefault(row["curve"], []).append(row)
        ours = {name: points for name, points in curves.items() if "-lapped" in name}
        for row in curves.get("Opus", ()):
            for key in scores:
                rate, theirs = row["marginal_kbps"], row["scores"][key]["mean"]
                at_rate = {name: _at_rate(points, rate, key) for name, points in ours.items()}
                reached = {name: one for name, one in at_rate.items() if one is not None}
                best = max(reached, key=lambda name: reached[name], default=None)
                text, form = _QUALITY[key]
                cells = ("", "")
                if best is not None:
                    gap = reached[best] - theirs
                    higher = "Opus" if gap < 0 else "`.isn`"
                    cells = (f"{reached[best]:{form}} ({best})", f"{higher} by {abs(gap):{form}}")
                rows.append((title, f"{rate:.1f}", text, f"{theirs:{form}}", *cells))
    return _table("set|marginal kbit/s|score|Opus|`.isn` at that rate|higher", rows)


def _at_rate(points: Sequence[Result], rate: float, key: str) -> float | None:
    """A score between two points of a curve, linear in the logarithm of the rate."""
    known = sorted((one["marginal_kbps"], one["scores"][key]["mean"]) for one in points)
    if not known[0][0] <= rate <= known[-1][0]:
        return None
    rates, values = zip(*known, strict=True)
    return float(np.interp(np.log(rate), np.log(rates), values))


def _interval(score: Result, form: str) -> str:
    if score["mean"] is None:
        return ""
    ends = "" if score["low"] is None else f" ({score['low']:{form}} to {score['high']:{form}})"
    return f"{score['mean']:{form}}{ends}"


def peer_speed(speed: Result) -> str:
    formats = {"ours_times_real_time": ",.0f", "peer_times_real_time": ",.0f", "ratio": ".2f"}
    rows = [
        (row["preset"], row["operation"], row["peer"], *_cells(row, **formats))
        for row in speed["comparisons"]
    ]
    start = speed["startup_s"]
    return (
        f"{_table('preset|operation|peer|ours, x real time|peer, x real time|ratio', rows)}\n\n"
        f"`import isincnet_jax` takes {start['import_s']:.2f} s; import, preset, first encode and "
        f"decode of 5 s take {start['cold_total_s']:.1f} s, with the decoder cached "
        f"{start['cached_total_s']:.1f} s."
    )


def operation_speed(operations: Result) -> str:
    """The shapes for which figures were asked, with every peer that was measured there."""
    parts = []
    for batch, seconds in ((16, 10.0), (1, 5.0)):
        rows = [r for r in operations["rows"] if (r["batch"], r["duration_s"]) == (batch, seconds)]
        peers = [_fastest(row["peers"]) for row in rows]
        known = (
            "PyTorch",
            "PyTorch, same kernels",
            "PyTorch, complex kernels",
            "nnAudio",
            "librosa",
            "librosax",
        )
        shown = [name for name in known if any(name in found for found in peers)]
        cells = [
            (
                *(row["operation"], row["variant"]),
                *_cells(row, ours_ms=".3g", times_real_time=",.0f"),
                f"{100 * row['fraction']:.0f} % ({row['binds']})",
                *(_ratio(found[name]) if name in found else "" for name in shown),
            )
            for row, found in zip(rows, peers, strict=True)
        ]
        head = "|".join(("||ours, ms|x real time|of the ceiling", *shown))
        parts += [f"Batch {batch} x {seconds:g} s:", _table(head, cells)] if rows else []
    machine = operations["machine"]
    ceiling = (
        f"Ceiling: {machine['gflops']:.0f} GFLOP/s of float32 products "
        f"({machine['fastest_product']}), copies of large arrays {machine['gb_per_s']:.0f} GB/s."
    )
    return "\n\n".join((*parts, ceiling))


def first_decoded_clip(first_use: Result) -> str:
    """Seconds from a fresh process to the first result, by what they are spent on."""
    steps = ("import", "design", "compile", "run", "total")
    rows = [
        (row["model"], *(f"{row[step]['wall_s']:.2f}" for step in steps))
        for row in first_use["rows"]
    ]
    return _table("model|" + "|".join(f"{step}, s" for step in steps), rows)


def classifier_speed(classifiers: Result) -> str:
    """Classifiers and their front ends beside PyTorch."""
    formats = {"ours_ms": ".1f", "peer_ms": ".1f", "ratio": ".2f", "processor_time_ratio": ".2f"}
    rows = [(row["row"], *_cells(row, **formats)) for row in classifiers["rows"]]
    return _table("what|ours, ms|PyTorch, ms|ratio|ratio of processor time", rows)


def lost_frames(concealment: Result) -> str:
    """Decoded recordings with lost frames."""
    formats = {"snr_db": ".1f", "worst_snr_db": ".1f", "stoi": ".3f", "times_real_time": ".0f"}
    rows = [
        (f"{100 * row['lost']:.0f} %", row["method"], *_cells(row, **formats))
        for row in concealment["rows"]
    ]
    return _table("frames lost|in their place|SNR, dB|worst clip|STOI|x real time", rows)


def long_file(hour: Result) -> str:
    return (
        f"{hour['duration_s'] / 60:g} minutes of stereo at 44.1 kHz reconstruct in "
        f"{hour['seconds']:.1f} s with {1e-6 * hour['peak_bytes']:.0f} MB of memory, start, "
        f"compilation, reading and writing included; SNR {hour['snr_db']:.1f} dB before the output "
        "rounds to 16 bits."
    )


def folder_of_files(corpus: Result) -> str:
    formats = {"jobs": "d", "seconds": ".1f", "x_real_time": ".0f", "peak_mib": ".0f"}
    rows = [
        (name, *_cells(row, **formats), f"{row['bytes'] / 2**20:.1f}")
        for name, found in corpus["rows"].items()
        for row in found
    ]
    compiled = corpus["compilations"]
    return (
        f"{_table('40 files to|jobs|seconds|x real time|memory, MiB|size, MiB', rows)}\n\n"
        f"{corpus['audio_s']:.0f} s of audio; {compiled['first_quarter']} programs are compiled in "
        f"the first quarter, {compiled['rest']} after it."
    )


def algorithm_choice(algorithms: Result) -> str:
    behind = [row["behind_fastest"] for row in algorithms["rows"]]
    return (
        f"Over {len(behind)} cases of bank, operation and shape the algorithm that is chosen takes "
        f"{algorithms['mean_behind']:.2f} times the time of the fastest on average, "
        f"{max(behind):.2f} times at worst."
    )


def gtzan_mini(benchmark_gtzan_mini: Result) -> str:
    return _benchmark(benchmark_gtzan_mini)


def musdb_mini(benchmark_musdb_mini: Result) -> str:
    return _benchmark(benchmark_musdb_mini)


def _benchmark(result: Result) -> str:
    corpus, count = result["corpus"], len(result["corpus"]["clips"])
    return (
        f"{count} clips of {corpus['duration_s']:g} s at {corpus['sample_rate'] / 1000:g} kHz, "
        "means (SNR: and 95 % interval):\n\n"
        + tables.markdown_table(
            result,
            metrics=[name for name in _SHOWN if name in result["metrics"]],
            intervals=("snr_db",),
        )
    )


def layer_accuracy(spectrograms: Result) -> str:
    formats = dict.fromkeys(("ours", "nnaudio", "librosa"), ".1e")
    rows = [(row["layer"], *_cells(row, **formats)) for row in spectrograms["accuracy"]]
    kernels = [
        (
            f"{row['layer']}, {row['geometry']}",
            *(f"{row[f'{who}_bytes'] / 1024:,.0f}" if row[f"{who}_bytes"] else "" for who in both),
        )
        for both in [("ours", "nnaudio")]
        for row in spectrograms["kernel_bytes"]
    ]
    accuracy = _table("|ours|nnAudio|librosa", rows)
    return f"{accuracy}\n\n{_table('kernels, KiB|ours|nnAudio', kernels)}"


def invertible_cqt(invertible: Result, spectrograms: Result) -> str:
    formats = dict.fromkeys(("worst_db", "median_db", "awkward_worst_db"), ".1f")
    rows = [(name, *_cells(row, **formats)) for name, row in invertible["results"].items()]
    trips = ", ".join(
        f"{row['transform']} {row['who']} {row['snr_db']:.1f}"
        for row in spectrograms["round_trips"]
        if row["snr_db"] is not None
    )
    table = _table("|worst clip|median|awkward signals: worst", rows)
    return f"{table}\n\nOne clip of tones and noise: {trips}."


def nonuniform_banks(nonuniform: Result) -> str:
    formats = {"per_second": ".2f", "ten_seconds": ".2f", "matrix": ".1f", "arrays": "d"}
    formats |= {"worst_db": ".1f", "median_db": ".1f", "awkward_worst_db": ".1f"}
    formats |= {"sliced_awkward_worst_db": ".1f", "sliced_latency_ms": ".0f"}
    rows = [(row["scale"], *_cells(row, **formats)) for row in nonuniform["scales"]]
    head = (
        "scale|numbers a sample|of 10 s|as a matrix|arrays|worst clip, dB|median|awkward signals: "
        "worst|the same, sliced|latency of slices, ms"
    )
    speed = nonuniform["speed"]
    times = [
        (what, *_cells(speed[what], ours_ms=".0f", peer_ms=".0f"), _ratio(speed[what]))
        for what in ("encode", "decode", "there and back")
    ]
    beside = f"|`{speed['ours']}`, ms|`{speed['peer']}`, ms|its time / ours (quartiles)"
    return f"{_table(head, rows)}\n\n16 clips of 10 s:\n\n{_table(beside, times)}"


def invertible_speed(spectrograms: Result) -> str:
    name = "CQT_pytorch"
    rows = [
        (
            entry["row"].removeprefix("invertible_cqt_").replace("_", " "),
            entry["peer"].removeprefix(f"{name} "),
            *_cells(entry, ours_ms=".3g", peer_ms=".3g"),
            _ratio(entry),
        )
        for entry in spectrograms["comparisons"]
        if entry["peer"].startswith(name)
    ]
    if not rows:
        return f"{name} is missing: no row of it has been measured yet."
    commit = spectrograms["versions_peers"][name]
    head = (
        "layout, bins per octave, direction|mode|ours, ms|theirs, ms|their time / ours (quartiles)"
    )
    return f"{name} at commit {commit[:7]}.\n\n{_table(head, rows)}"


def layer_speed(spectrograms: Result) -> str:
    found: dict[str, dict[str, Result]] = {}
    for entry in spectrograms["comparisons"]:
        if entry["peer"].startswith("CQT_pytorch"):
            continue  # of clips of their own: invertible_speed
        found.setdefault(entry["row"], {})[entry["peer"]] = entry
    known = ("librosa", "librosa, 2 threads", "torch", "nnAudio", "librosax", "nnaudio2")
    shown = [peer for peer in known if any(peer in row for row in found.values())]
    rows = []
    for name, row in found.items():
        ours = max(entry["ours_times_real_time"] for entry in row.values())
        ratios = (_cells(row.get(peer, {}), ratio=".1f")[0] for peer in shown)
        rows.append((name, f"{ours:,.0f}", *ratios))
    return _table("|".join(("|ours, x real time", *shown)), rows)


def learned_decoders(learned: Result) -> str:
    formats = {"snr_db": ".1f", "worst_snr_db": ".1f", "log_stft": ".2g", "condition": ".0f"}
    formats |= {"parameters": ",d", "minutes": ".1f"}
    rows = [(name, *_cells(row, **formats)) for name, row in learned["rows"].items()]
    head = "|SNR, dB|worst clip|log-STFT|condition number|parameters|minutes, 2 cores"
    return _table(head, rows)


def training_speed(training: Result) -> str:
    formats = {"steps_per_s": ".1f", "x_real_time": ",.0f"}
    formats |= {f"ratio_to_{kind}_kernels": ".2f" for kind in ("complex", "real")}
    steps = [(name, *_cells(row, **formats)) for name, row in training["steps"].items()]
    inputs = [
        (name, *_cells(row, batches_per_s=",.0f", ratio_to_step=".0f"))
        for name, row in training["pipelines"].items()
    ]
    head = "|steps/s|x real time|PyTorch's time / this, complex kernels|real kernels"
    return f"{_table(head, steps)}\n\n{_table('input|batches/s|batches per step', inputs)}"


def interruptions(resilience: Result) -> str:
    return (
        f"Of {resilience['num_kills']} runs killed at random moments "
        f"({resilience['num_cut_writes']} of them while a checkpoint was being written) "
        f"{resilience['num_resumed_from_latest']} resumed from the latest complete checkpoint; at "
        f"the end {len(resilience['differing_arrays']) or 'none'} of {resilience['num_arrays']} "
        "arrays differed from a run that was never stopped."
    )


def front_ends(filters: Result) -> str:
    def percent(values: Sequence[float], joint: str) -> str:
        return joint.join(f"{100 * value:.1f}" for value in values)

    rows = [
        (
            *(name, str(len(row["seeds"])), percent([row["accuracy"]], "")),
            percent(row["accuracies"], ", "),
            *(percent(row[f"{over}_interval"] or (), " to ") for over in ("seeds", "tracks")),
            *_cells(row, filter_movement_hz=".2g"),
        )
        for name, row in filters["classifiers"].items()
    ]
    any_row = next(iter(filters["classifiers"].values()))
    head = "front end|seeds|mean|each seed|95 % over seeds|95 % over tracks|centres moved, Hz"
    return (
        f"{any_row['tracks']} test tracks of 2 to 3 s, {any_row['steps']} steps, accuracy by track "
        f"in %:\n\n{_table(head, rows)}"
    )


def shapes(ablation: Result) -> str:
    rows, lost = [], []
    for cell in ablation["cells"]:
        values, found = cell["values"], cell["measured"].get("reconstruction", {})
        if found.get("invertible"):
            snr = ("snr_db", "quantized_snr_db", "noisy_snr_db")
            about = (values["shape"], values["scale"], str(values["num_bins"]))
            condition = _cells(found, condition=".2f")
            rows.append((*about, *condition, *(f"{found[name]['mean']:.1f}" for name in snr)))
        elif found:
            lost.append(f"{values['num_bins']} {values['scale']} bins")
    table = _table("shape|scale|bins|condition|exact|8 bits|noise", rows)
    none = f"No inverse exists of {', '.join(sorted(set(lost)))} ({len(lost)} cells). "
    return f"{table}\n\n{none if lost else ''}The grid: `{ablation['grid']}`."


def shape_accuracies(ablation: Result) -> str:
    runs = sorted({run for cell in ablation["cells"] for run in cell["classification"]})
    rows = [
        (*_names(cell), *(_accuracy(cell["classification"].get(run)) for run in runs))
        for cell in ablation["cells"]
        if cell["classification"]
    ]
    sentences = "\n".join(f"- {text}" for text in ablation_table.sentences(ablation["verdicts"]))
    return f"{_table('|'.join(('shape', 'scale', *runs)), rows)}\n\n{sentences}"


def _names(cell: Result) -> tuple[str, str]:
    values = cell["values"]
    if "front_end" in cell["name"]:
        return f"({values['front_end']})", ""
    return values["shape"], values["scale"]


def _accuracy(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    ends = [found.get(f"seeds_{end}") for end in ("low", "high")]
    if None in ends:
        return f"{100 * found['accuracy']:.1f} (one seed)"
    low, high = (f"{100 * end:.1f}" for end in ends)
    return f"{100 * found['accuracy']:.1f} ({low} to {high})"


def optimized_banks(optimized_banks: Result) -> str:
    formats = dict.fromkeys(("music_db", "speech_db"), ".2f") | {"condition": ".3g"}
    few = [
        (name, *_cells(row, **formats), _percent(row), *_cells(row, worst_snr_db=".1f"))
        for name, row in optimized_banks["bits"].items()
    ]
    formats = dict.fromkeys(("music_db", "music_worst_db", "speech_db", "speech_worst_db"), ".1f")
    mel = [
        (name, *_cells(row, **formats, condition=".3g"), _percent(row))
        for name, row in optimized_banks["mel"].items()
    ]
    lapped = [
        (str(row["hop"]), row["window"], *_cells(row, music_kbps=".3f", speech_kbps=".3f"))
        for row in optimized_banks["lapped"]
    ]
    head = "128 bins, hop 125|music, SNR in dB at 4 bits|speech|condition|centres moved, %"
    mels = "128 mel bins, hop 125|music: mean, dB|worst|speech: mean|worst|condition"
    return "\n\n".join(
        [
            _table(f"{head}|round trip at worst, dB", few),
            _table(f"{mels}|centres moved, %", mel),
            _table("lapped bank, hop|window|music, kbit/s at 25 dB|speech", lapped),
        ]
    )


def _percent(row: Result) -> str:
    return f"{100 * row['largest_shift']:.1f}" if "largest_shift" in row else ""


def sinc_convolution(sincconv: Result) -> str:
    rows = [
        (*_cells(row, stride="d", ours_ms=".3g", peer_ms=".3g"), _ratio(row))
        for row in sincconv["comparisons"]
    ]
    return _table("stride|ours, ms|PyTorch, ms|ratio (quartiles)", rows)


def sound_matches(sound_matching: Result) -> str:
    rows = [
        (name, *_cells(row, median_distance=".3f", correlation=".3f", seconds=".2f"))
        for name, row in sound_matching["synthesizer"].items()
    ]
    head = "stage|spectral distance, median|linear STFT correlation, mean|s a sound"
    sure = [
        (f"{100 * row['given']:.0f}", f"{100 * row['right']:.0f}", f"{row['count']:,}")
        for row in sound_matching["calibration"]
    ]
    tables = [_table(head, rows), _table("given, %|right, %|levels", sure)]
    notes = sound_matching.get("recordings", [])
    if notes:
        names = ("random", "nearest", "gradients", "estimate", "drawn", "matched")
        medians = [f"{statistics.median(note[name] for note in notes):.3f}" for name in names]
        better = sum(note["matched"] < min(note["nearest"], note["gradients"]) for note in notes)
        tables.append(_table("|".join(names), [tuple(medians)]))
        tables.append(
            f"Medians of {len(notes)} recorded notes; the match is nearer than the nearest of "
            f"10,000 settings and than gradient search from 16 random starts on {better}."
        )
    return "\n\n".join(tables)


def exported(exports: Result) -> str:
    rows = [
        (row["name"], row["part"], row["peer"], *_cells(row, ours_ms=".3g", peer_ms=".3g"),
         _ratio(row), f"{row['bytes'] / 1e3:.0f}", *_cells(row, difference=".1e", snr_db=".1f"))
        for row in exports["exports"]
    ]  # fmt: skip
    return _table("what|part|by|JAX, ms|ms|ratio (quartiles)|file, kB|difference|SNR, dB", rows)


def vocoder_scores(vocoder_quality__ljspeech: Result) -> str:
    return _vocoder_table(vocoder_quality__ljspeech)


def vocoder_other_speakers(vocoder_quality__other_speakers: Result) -> str:
    return _vocoder_table(vocoder_quality__other_speakers)


def vocoder_music(vocoder_quality__music: Result) -> str:
    return _vocoder_table(vocoder_quality__music)


def _vocoder_table(measured: Result) -> str:
    columns = {
        "multi_stft": ("multi-resolution loss", ".3f"),
        "convergence_db": ("convergence, dB", ".1f"),
        "mcd_db": ("MCD, dB", ".2f"),
        "consistency_db": ("consistency, dB", ".1f"),
        **_QUALITY,
        "times_real_time": ("x real time", ".0f"),
        "times_real_time_of_processor": ("x real time of processor", ".0f"),
    }
    known = {key for row in measured["rows"] for key in row}
    shown = {key: column for key, column in columns.items() if key in known}
    rows = [
        (
            *(row["method"], _INPUT.get(row["input"], row["input"])),
            f"{row['parameters']:,}" if row["parameters"] else "",
            *_cells(row, **{key: form for key, (_, form) in shown.items()}),
        )
        for row in measured["rows"]
    ]
    titles = "|".join(title for title, _ in shown.values())
    return _table(f"method|from|learned parameters|{titles}", rows)


def network_speed(vocoders: Result) -> str:
    names = ("parameters_million", "compile_s", "times_real_time", "times_real_time_of_processor")
    formats = dict.fromkeys(names, ".1f")
    rows = [(row["model"], *_cells(row, **formats)) for row in vocoders["models"]]
    head = "network|parameters, million|compiles in, s|x real time|x real time of processor"
    return _table(head, rows)


def phase_convergence(phase: Result) -> str:
    counts = dict.fromkeys(("0", "10", "30", "60", "120"), ".1f")
    rows = [
        (row["method"], *_cells(row["convergence_db"], **counts)) for row in phase["convergence"]
    ]
    speed = "; ".join(
        f"{row['method']} runs at {row['times_real_time']:.0f} x real time, librosa takes "
        f"{row['ratio']:.2f} times as long"
        for row in phase["speed"]
    )
    return f"{_table('|'.join(('iterations', *counts)), rows)}\n\n{speed}."


def synthesizer_settings(inversynth: Result) -> str:
    ranks = {"mpr": ".2f", "top1": ".2f", "class_mae": ".2f"}
    heard = dict.fromkeys(("stft_mean", "stft_median", "linear_mean", "linear_median"), ".2f")
    papers = dict.fromkeys(("stft_mean", "stft_median"), ".2f")
    ours = {**inversynth["parameters"][-1], **inversynth["sounds"]}
    rows = [
        (f"**ours** (`{inversynth['model']}`)", *_cells(ours, **ranks, **heard), "", ""),
        ("random patches", *[""] * 3, *_cells(inversynth["random"], **heard), "", ""),
    ]
    for network in published.NETWORKS[:5]:
        found = network._asdict()
        cells = (*_cells(found, **ranks), *[""] * 4, *_cells(found, **papers))
        rows.append((f"{network.name}, published", *cells))
    head = "network|MPR|top-1|error|log: mean|median|linear: mean|median|published: mean|median"
    return f"{inversynth['num_clips']} fresh sounds:\n\n{_table(head, rows)}"


def refinement(inversynth: Result) -> str:
    found = inversynth["refinement"]
    before, after = found["sounds_before"], found["sounds_after"]
    return (
        f"Refinement ({found['num_steps']} gradient steps through the synthesizer and "
        f"{found['num_sweeps']} searches through the levels) of {found['num_clips']} of them: "
        f"median spectral distance {found['median_before']:.2f} to {found['median_after']:.2f} "
        f"({found['improvement_percent']:.0f} % less), correlation {before['stft_mean']:.1f} to "
        f"{after['stft_mean']:.1f}, of linear magnitudes {before['linear_mean']:.1f} to "
        f"{after['linear_mean']:.1f}, in {found['seconds_per_clip']:.1f} s a sound."
    )


def inversynth_training(inversynth_steps: Result) -> str:
    formats = {"wall_ms_per_sound": ".1f", "memory_mib": ".0f"}
    rows = [(row["network"], *_cells(row, **formats)) for row in inversynth_steps["rows"]]
    return _table("network|ms a sound|memory, MiB", rows)


def synthesizer_speed(synthesizer: Result) -> str:
    rows = [
        (row["operation"], *_cells(row, batch="d", sounds_per_s=",.0f"))
        for row in synthesizer["operations"]
    ]
    return _table("operation|batch|sounds a second", rows)


def chunks(streaming: Result) -> str:
    formats = {"latency_ms": ".2f", "median_ms": ".3f", "worst_ms": ".2f"}
    formats |= {"wall_x_real_time": ".0f", "snr_db": ".0f"}
    rows = [(name, *_cells(row, **formats)) for name, row in streaming["rows"].items()]
    head = "codec, chunk|latency, ms|median, ms a chunk|worst|x real time|SNR, dB"
    return _table(head, rows)


def headlines(
    exactness: Result,
    tokens: Result,
    rate: Result,
    ears: Result,
    lossless: Result,
    operations: Result,
    hour: Result,
    streaming: Result,
    invertible: Result,
    spectrograms: Result,
    filters: Result,
    vocoder_quality__ljspeech: Result,
    inversynth: Result,
) -> str:
    """The README's: what was measured, on which page, the result, and the command."""
    presets, theirs = exactness["presets"], exactness["peers"]["reference 16 kHz linear complex"]
    worst = min(row["worst_db"] for row in presets.values())
    snr = {name: row["8"]["mean_db"] for name, row in tokens["bits"].items()}
    file = rate["frames of one size"]["25 dB"]
    heard, exact = ears["sets"]["MUSDB18, 44.1 kHz"], lossless["table"][0]
    large = {(r["operation"], r["variant"]): r for r in operations["rows"] if r["batch"] == 16}
    encode, cqt = large["encode", "16khz-linear"], large["CQT", "84 bins"]
    ratios = [
        _fastest(large[operation, variant]["peers"])[peer]["ratio"]
        for operation, variant, peer in (
            ("encode", "16khz-linear", "PyTorch"),
            ("encode", "16khz-mel", "PyTorch"),
            ("training step", "reference's recipe", "PyTorch"),
            ("CQT", "84 bins", "nnAudio"),
        )
    ]
    chunk = streaming["rows"]["16 kHz causal, low latency, 10 ms"]
    back = min(row["worst_db"] for row in invertible["results"].values())
    error = next(row for row in spectrograms["accuracy"] if row["layer"] == "CQT1992v2")
    genres = [
        f"{100 * row['accuracy']:.1f} ({' to '.join(f'{100 * end:.1f}' for end in interval)})"
        for row in (filters["classifiers"][name] for name in ("mel", "sincnet"))
        for interval in [row["seeds_interval"]]
    ]
    vocoders = {row["method"]: row for row in vocoder_quality__ljspeech["rows"]}
    ours, griffin_lim, heap = (
        vocoders[name]["multi_stft"]
        for name in (
            "phase-gradient vocoder + 5 iterations",
            "Griffin-Lim 60",
            "heap integration + 5 iterations",
        )
    )
    total, paper = inversynth["parameters"][-1], published.NETWORKS[0]
    found = (
        (
            f"exactness|Presets there and back, worst of {exactness['clip_count']} clips",
            f"{worst:.1f} dB (iSincNet's trained weights: {theirs['worst_db']:.1f})",
            exactness,
        ),
        (
            "tokens|8-bit tokens, scales from the signal or from the bank",
            f"{snr['signal scales, 4 frames']:.1f} or {snr['spec scales, 4 frames']:.1f} dB "
            f"(iSincNet's code: {snr['reference code, exact 4 frames']:.1f})",
            tokens,
        ),
        ("tokens|Music at 25 dB in an `.isn` file", f"{file['file_kbps']:.0f} kbit/s", rate),
        (
            "tokens|Music for listening, 44.1 kHz, 20 kbit/s: ViSQOL",
            f"{heard['following, 20 kbit/s']['visqol']:.2f} (with one step: "
            f"{heard['one step, 20 kbit/s']['visqol']:.2f})",
            ears,
        ),
        (
            "tokens|Music kept exactly, 16 kHz",
            f"{exact['file_kbps']:.0f} kbit/s (FLAC -8: {exact['flac_kbps']:.0f})",
            lossless,
        ),
        (
            "speed|Encoding 16 x 10 s with `16khz-linear` on 2 cores; PyTorch's time over ours",
            f"{encode['times_real_time']:,.0f} x real time; {ratios[0]:.2f} (`16khz-mel`: "
            f"{ratios[1]:.2f}, a training step: {ratios[2]:.2f})",
            encode,
        ),
        (
            f"speed|{hour['duration_s'] / 60:g} minutes of 44.1 kHz stereo, file to file",
            f"{hour['seconds']:.0f} s, {1e-6 * hour['peak_bytes']:.0f} MB",
            hour,
        ),
        (
            "streaming|Chunks of 10 ms: latency, computing time",
            f"{chunk['latency_ms']:.2f} ms, {chunk['median_ms']:.3f} ms",
            streaming,
        ),
        (
            f"spectrograms|Constant Q there and back, worst of {invertible['clip_count']} clips",
            f"{back:.1f} dB",
            invertible,
        ),
        (
            "spectrograms|Constant-Q layer: relative error",
            f"{error['ours']:.1e} (nnAudio: {error['nnaudio']:.1e})",
            spectrograms,
        ),
        ("speed|Constant-Q layer: nnAudio's time over ours", f"{ratios[3]:.1f}", cqt),
        (
            "vocoders|Speech from magnitudes, multi-resolution STFT loss, 5 iterations behind it",
            f"{ours:.3f} (Griffin-Lim, 60: {griffin_lim:.3f}; heap integration, 5: {heap:.3f})",
            vocoder_quality__ljspeech,
        ),
        (
            "inversynth|Settings of a synthesizer: mean percentile rank, top-1",
            f"{total['mpr']:.1f}, {total['top1']:.1f} % (published C6XL: {paper.mpr:.1f}, "
            f"{paper.top1:.1f} %)",
            inversynth,
        ),
        (
            "filters|Genres by mel, and by learned sinc filters before the same network",
            f"{genres[0]} %, {genres[1]} %",
            filters,
        ),
    )
    rows = []
    for what, result, source in found:
        page, name = what.split("|")
        shown = command(source).removesuffix(" --write")
        if len(shown) > 80:  # the page has its options
            shown = f"{' '.join(shown.split()[:2])} ..."
        rows.append((f"[{name}](docs/measured/{page}.md)", result, f"`{shown}`"))
    return _table("measured|result|command", rows)
