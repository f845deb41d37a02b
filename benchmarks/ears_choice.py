"""What the steps of token files for ears were chosen by: training clips.

    python benchmarks/ears_choice.py [--audio DIR]

First 5 s, mono, -23 LUFS: of every fifth of the training clips of gtzan_mini
(``genres/*/*.0000[0-4].wav``, 22.05 kHz) at 20 kbit/s, and of some of training/speech at 16 kHz and
16 kbit/s. Of each set the exponent and the tilt of ``band_steps``, the frame and how many share
their indices; rates and scores as in ``ears.py``.
"""

from __future__ import annotations

import functools

import common
import ears

from isincnet_jax.recordings.options import recording_spec
from isincnet_jax.tokens import band_steps
from isincnet_jax.tokens.band_steps import Shape

SHAPES = (
    Shape(0.6, 0.0), Shape(0.7, 0.0), Shape(0.8, 0.0), Shape(0.9, 0.0), Shape(0.7, 0.1),
    Shape(0.7, 0.2), Shape(0.8, 0.15),
)  # fmt: skip
SHARED = (2, 4, 6)


def main() -> None:
    args = common.parser_with_audio(__doc__ or "").parse_args()
    folder = common.audio_folder(args.audio)
    if folder is None:
        raise SystemExit("gtzan_mini and training/speech are needed: use --audio DIR")
    music = sorted(folder.glob("**/gtzan_mini/genres/*/*.0000[0-4].wav"))[::5]
    speech = sorted(folder.glob("training/speech/*/**/*.ogg"))[::120]
    sets = {
        "music": (ears.read_starts(music, folder, 22_050), 20.0, (256, 1024)),
        "speech": (
            ears.read_starts(speech, folder, ears.SPEECH_RATE, is_speech=True), 16.0, (320, 512)
        ),
    }  # fmt: skip
    chosen, num_shared = (band_steps.SPEECH, band_steps.MUSIC), band_steps.num_shared
    tables: dict[str, dict[str, dict[str, float]]] = {}
    for name, (clips, kbps, hops) in sets.items():
        write = functools.partial(ears.write, kbps=kbps)
        rows = tables[name] = {"as chosen": ears.measure(clips, write)}
        for shape in SHAPES:
            band_steps.SPEECH = band_steps.MUSIC = shape
            rows[f"exponent {shape.exponent}, tilt {shape.tilt}"] = ears.measure(clips, write)
        band_steps.SPEECH, band_steps.MUSIC = chosen
        for count in SHARED:
            band_steps.num_shared = lambda *_, count=count: count
            rows[f"{count} frames share"] = ears.measure(clips, write)
        band_steps.num_shared = num_shared
        spec = recording_spec(clips.sample_rate, for_ears=True)
        for hop in hops:
            other = spec.replace(hop_length=hop)
            rows[f"frames of {hop}"] = ears.measure(clips, write, spec=other)
        ears.print_rows(f"{name}, {clips.sample_rate} Hz, {kbps:g} kbit/s", rows)
    data = "first 5 s of training clips of gtzan_mini and training/speech, mono, -23 LUFS"
    count = sum(len(clips.samples) for clips, *_ in sets.values())
    origin = common.describe_run(args, data=data, clip_count=count)
    common.write_results("ears_choice", {**origin, "sets": tables})


if __name__ == "__main__":
    main()
