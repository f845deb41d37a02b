"""``isincnet vocoder``: from a folder of recordings to a trained vocoder, and how to use one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isincnet_jax import extras
from isincnet_jax.cli import progress
from isincnet_jax.cli.commands import Commands, output
from isincnet_jax.cli.common import TruncatedOption, app, finite, say, say_skipped

if TYPE_CHECKING:
    import numpy as np

    from isincnet_jax.vocoders.features import VocoderFeatures

vocoder_app = Commands(
    no_args_is_help=True, help="Spectrogram to waveform by networks: data, training, use."
)
app.add_typer(vocoder_app, name="vocoder")


@vocoder_app.command()
def preprocess(
    source: Annotated[
        Path, typer.Argument(metavar="DIR", help="LJSpeech's folder, or any with audio below it.")
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="INDEX", help="Folder to write; must be new or an index.", callback=output
        ),
    ],
    *,
    sample_rate: Annotated[int, typer.Option("--sample-rate", help="To train at, Hz.")] = 22_050,
    min_duration: Annotated[
        float, typer.Option("--min-duration", help="Skip shorter files, seconds.", callback=finite)
    ] = 0.95,
    seed: Annotated[int, typer.Option("--seed", help="Of the division by name.")] = 0,
    workers: Annotated[int, typer.Option("--workers", help="Threads; 0: one a core.")] = 0,
    truncated: TruncatedOption = "refuse",
) -> None:
    """Check the recordings in DIR and divide them: 80, 10, 10 % for training and tests.

    INDEX gets lists of names and facts, a few kilobytes; training decodes DIR itself and draws its
    crops on the fly.
    """
    from isincnet_jax.data import recording_index

    index = recording_index.make_index(
        source,
        target,
        sample_rate=sample_rate,
        min_duration_s=min_duration,
        seed=seed,
        workers=workers,
        truncated=truncated,
        progress=progress.count("recordings"),
    )
    for split, names in index.splits.items():
        say(f"{split}: {len(names)} files, {index.duration_s(split) / 3600:.3f} h")
    say_skipped(index.skipped)
    say(f"wrote {target}; next: isincnet vocoder train {target}")


@vocoder_app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def train(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(metavar="INDEX", help="Of `preprocess`, or a folder of audio.")
    ],
    *,
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="cnn (default), convnext, ..., see configs/vocoder.py."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Fine-tune this one: export folder of a run, .zip or name."),
    ] = None,
    workdir: Annotated[
        Path | None, typer.Option("--workdir", "--out_dir", help="Of the run.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Batches to train on.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Crops a batch.")] = None,
) -> None:
    """Train a vocoder, or go on with a run; --config.field=value changes any other setting.

    --model starts from a trained one's weights, with its kind and features, for 1,000 steps; the
    scores at the end stand beside its own. The run's export/ is the model for `synthesize`. What
    the settings are: configs/vocoder.py in experiments/ of a checkout, in isincnet_jax/tasks/ of an
    installed package.
    """
    from isincnet_jax.data import recording_index

    fields = recording_index.data_fields(source)
    extras.require("ml_collections")
    from isincnet_jax.tasks import command, fine_tuning, vocoding

    if model is not None:
        if kind is not None:
            raise ValueError(f"--model {model} says what is trained: leave out --kind")
        kind, own = fine_tuning.vocoder_config(model)
        fields.update(own)
    given = {"workdir": workdir, "train.num_steps": steps, "data.batch_size": batch_size}
    fields.update({name: value for name, value in given.items() if value is not None})
    config = f"--config={command.configs_folder() / 'vocoder.py'}:{kind or 'cnn'}"
    arguments = [config, *(f"--config.{name}={value}" for name, value in fields.items())]
    command.run_command(
        vocoding.train_vocoder,
        about=vocoding.__doc__,
        config="vocoder.py",
        arguments=[*arguments, *context.args],  # the later of two values of a field counts
    )


@vocoder_app.command()
def spectrogram(
    source: Annotated[Path, typer.Option("-i", "--input", metavar="WAV", help="Audio file.")],
    target: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="NPZ", help="File to write.", callback=output),
    ],
    *,
    model: Annotated[
        str | None, typer.Option("--model", help="Make what this vocoder takes.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="linear (the default), mel_slaney or mel_htk.")
    ] = None,
    sample_rate: Annotated[int | None, typer.Option("--sample-rate", help="Hz; 22050.")] = None,
    n_fft: Annotated[int | None, typer.Option("--n-fft", help="Samples a frame; 2048.")] = None,
    win_length: Annotated[int | None, typer.Option("--win", help="Of the window; 1024.")] = None,
    hop_length: Annotated[int | None, typer.Option("--hop", help="Between frames; 256.")] = None,
    n_mels: Annotated[int | None, typer.Option("--n-mels", help="Mel filters; 80.")] = None,
    truncated: TruncatedOption = "refuse",
) -> None:
    """Write the spectrogram of WAV, linear magnitudes and what they are, for `synthesize`."""
    from isincnet_jax.vocoders.features import VocoderFeatures

    given = {
        "kind": kind,
        "sample_rate": sample_rate,
        "n_fft": n_fft,
        "win_length": win_length,
        "hop_length": hop_length,
        "n_mels": n_mels,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if target.suffix != ".npz":
        raise ValueError(
            f"{target}: spectrograms end in .npz; use {target.with_suffix('.npz').name}"
        )
    if model is None:
        features = VocoderFeatures(**given)  # type: ignore[arg-type]
    elif given:
        names = ", ".join(name.replace("_", "-") for name in given)
        raise ValueError(f"--model says what the spectrogram is: leave out {names}")
    else:
        from isincnet_jax.pretrained.trained import load_vocoder

        features = load_vocoder(model).features
    _write_spectrogram(source, target, features, truncated)


def _write_spectrogram(
    source: Path, target: Path, features: VocoderFeatures, truncated: str
) -> None:
    from isincnet_jax import files
    from isincnet_jax.vocoders import features as vocoder_spectrograms
    from isincnet_jax.vocoders import spectrogram_file

    samples = _read_mono(source, features.sample_rate, truncated)
    num_frames = features.num_frames(len(samples))
    with files.replacing(target) as temporary:
        spectrogram_file.write_spectrogram(
            temporary,
            vocoder_spectrograms.spectrogram_blocks(features, samples),
            features=features,
            num_frames=num_frames,
            length=len(samples),
        )
    say(
        f"wrote {target}: {num_frames} frames x {features.num_bins} bins, {features.kind} "
        f"magnitudes, {len(samples) / features.sample_rate:.2f} s"
    )


def _read_mono(source: Path, sample_rate: int, truncated: str) -> np.ndarray:
    """The samples of a file at a rate, float32 [time], channels averaged."""
    import numpy as np

    from isincnet_jax.data import audio_files

    mode: Any = truncated
    info = audio_files.audio_info(source, truncated=mode)
    if info.sample_rate != sample_rate:
        say(f"{source.name}: resampled from {info.sample_rate} Hz to {sample_rate} Hz")
    if info.num_channels > 1:
        say(f"{source.name}: {info.num_channels} channels averaged to one")
    parts = [
        np.mean(block, axis=1, dtype=np.float32)
        for block in audio_files.read_blocks(source, sample_rate=sample_rate, truncated=mode)
    ]
    return np.concatenate(parts)


@vocoder_app.command()
def synthesize(
    model: Annotated[
        str,
        typer.Option("--model", "--model_path", help="Export folder of a run, .zip or name."),
    ],
    spec: Annotated[
        Path, typer.Option("--spec", "--spec_path", metavar="NPZ", help="Of `spectrogram`.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "--out_path", metavar="WAV", help="Audio file to write.", callback=output
        ),
    ],
    *,
    chunk: Annotated[int, typer.Option("--chunk", help="Frames at once.")] = 1024,
    polish: Annotated[
        int, typer.Option("--polish", help="Iterations of fast Griffin-Lim behind it, say 5.")
    ] = 0,
    heap: Annotated[
        bool,
        typer.Option("--heap", help="Phases by heap integration first: better, slower."),
    ] = False,
    online: Annotated[
        bool,
        typer.Option("--online", help="Phases as a stream has them, from a few frames."),
    ] = False,
) -> None:
    """Write the waveform of a spectrogram, at its level, in constant memory."""
    import time

    from isincnet_jax.data import audio_writing
    from isincnet_jax.pretrained.trained import load_vocoder
    from isincnet_jax.vocoders import polish as vocoder_polish
    from isincnet_jax.vocoders import spectrogram_file

    begin = time.perf_counter()
    vocoder = load_vocoder(model)
    vocoder_polish.check_polish(vocoder.features, polish)
    found = spectrogram_file.read_spectrogram(spec)
    _check_facts(spec, found.features, vocoder.features, model)
    with _named(spec):
        parts = vocoder.synthesize_blocks(
            found.spectrogram[None],
            length=found.length,
            chunk_frames=chunk,
            polish=polish,
            heap=heap,
            online=online,
        )
        levels = _Levels(parts)
        written = audio_writing.write_blocks(
            out,
            levels,
            sample_rate=vocoder.sample_rate,
            num_channels=1,
            subtype="FLOAT",
        )
    if levels.peak > 1.0:
        say(f"{out.name}: peak {levels.peak:.3f} is beyond full scale")
    elapsed_s, duration_s = time.perf_counter() - begin, written / vocoder.sample_rate
    say(
        f"wrote {out}: {duration_s:.2f} s, {vocoder.sample_rate} Hz, in {elapsed_s:.1f} s with "
        "compiling"
    )


class _Levels:
    """Parts [1, samples] as blocks [samples, 1]; notes their peak."""

    def __init__(self, parts: Iterator[np.ndarray]) -> None:
        self._parts, self.peak = parts, 0.0

    def __iter__(self) -> Iterator[np.ndarray]:
        import numpy as np

        for part in self._parts:
            if not np.all(np.isfinite(part)):
                raise ValueError("the network makes NaN of it; its weights do not fit such input")
            self.peak = max(self.peak, float(np.max(np.abs(part), initial=0.0)))
            yield part.T


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Puts the file's name before what is wrong with its values."""
    try:
        yield
    except (ValueError, TypeError) as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path}: {error}") from error


def _check_facts(path: Path, found: VocoderFeatures, wanted: VocoderFeatures, model: str) -> None:
    """Refuses a spectrogram of another geometry, naming all that differs."""
    one: dict[str, Any]
    one, other = found.facts(), wanted.facts()
    differing = [
        f"{name}={one.get(name, 'none')} ({model} takes {other.get(name, 'none')})"
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name)
    ]
    if differing:
        raise ValueError(
            f"{path}: {', '.join(differing)}; make it by isincnet vocoder spectrogram --model "
            f"{model}"
        )
