"""Baselines of the benchmark: transforms, phase retrieval, mel inversion, other codecs."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from isincnet_jax.benchmark.methods import Coded, Method
from isincnet_jax.dsp import auditory

N_FFT, HOP, ITERATIONS, MELS = 1024, 256, 60, 80
_CQT_BINS_PER_OCTAVE, _CQT_LOWEST_HZ = 36, 32.703
# Of the Nyquist frequency. With librosa 0.11.0 at 22,050 and 44,100 Hz, bins beyond 0.77 of it make
# icqt return signals a hundred times too loud (-60 dB); up to 0.7 all rates that were tried work.
_CQT_HIGHEST = 0.7
_OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
_LOSSY = {
    "Opus": ("OGG", "OPUS"),
    "Vorbis": ("OGG", "VORBIS"),
    "MP3": ("MP3", "MPEG_LAYER_III"),
}

LEVELS: Mapping[str, tuple[float, ...]] = {
    "Opus": (0.98, 0.95, 0.9, 0.8, 0.6, 0.4),
    "Vorbis": (0.9, 0.5, 0.0),
    "MP3": (0.9, 0.5, 0.0),
}
"""Levels of compression of the lossy codecs, 0 to 1."""


def transform_methods(*, sample_rate: int, length: int) -> Iterator[Method]:
    """STFT and inverse, ours and librosa's, and librosa's constant-Q transform.

    Args:
        sample_rate: Hz.
        length: samples of the clips.

    Yields:
        Three methods.
    """
    frames, bins = 1 + length // HOP, 1 + N_FFT // 2  # centred frames, one-sided spectrum
    stft: dict[str, Any] = {
        "family": "transform",
        "domain": f"{bins} complex bins/frame, {sample_rate / HOP:g} frames/s",
        # A complex bin is two real numbers; frames beyond the ends of the clip count.
        "coefficients_per_s": 2.0 * bins * frames * sample_rate / length,
        "parameters": 0,
        "settings": {"n_fft": N_FFT, "hop_length": HOP},
    }
    text = f"Hann window of {N_FFT}, hop {HOP}, least-squares inverse"
    yield Method("STFT", reconstruct=_stft_round_trip(length), description=text, **stft)
    yield Method(
        "STFT librosa",
        reconstruct=functools.partial(_librosa_stft, length=length),
        description=text,
        compiled=False,
        **stft,
    )
    octaves = np.log2(_CQT_HIGHEST * sample_rate / 2 / _CQT_LOWEST_HZ)
    count = int(octaves * _CQT_BINS_PER_OCTAVE)
    options = {
        "sr": sample_rate,
        "hop_length": HOP,
        "fmin": _CQT_LOWEST_HZ,
        "n_bins": count,
        "bins_per_octave": _CQT_BINS_PER_OCTAVE,
    }
    yield Method(
        "CQT librosa",
        "transform",
        functools.partial(_librosa_cqt, length=length, options=options),
        f"librosa.cqt and icqt, {_CQT_BINS_PER_OCTAVE} bins an octave from C1 to {_CQT_HIGHEST} of "
        "the Nyquist frequency; what lies above is lost",
        domain=f"{count} complex bins/frame, {sample_rate / HOP:g} frames/s",
        coefficients_per_s=2.0 * count * frames * sample_rate / length,
        parameters=0,
        settings=options,
        compiled=False,
    )


def _stft_round_trip(length: int) -> Callable[[Any], Any]:
    from isincnet_jax.phase import retrieval

    operators = retrieval.stft_operators(n_fft=N_FFT, hop_length=HOP, length=length)
    return jax.jit(lambda waveform: operators.synthesise(operators.analyse(waveform)))


def _librosa_stft(waveform: np.ndarray, *, length: int) -> np.ndarray:
    import librosa

    spectrum = librosa.stft(waveform, n_fft=N_FFT, hop_length=HOP, pad_mode="reflect")
    return librosa.istft(spectrum, n_fft=N_FFT, hop_length=HOP, length=length)


def _librosa_cqt(waveform: np.ndarray, *, length: int, options: dict[str, Any]) -> np.ndarray:
    import librosa

    spectrum = librosa.cqt(waveform, **options)
    back = {key: value for key, value in options.items() if key != "n_bins"}
    return librosa.icqt(spectrum, length=length, **back).astype(np.float32)


def phase_methods(*, sample_rate: int, length: int) -> Iterator[Method]:
    """Griffin-Lim, its fast form, ADMM and phase gradients from STFT magnitudes; mel inversion.

    Args:
        sample_rate: Hz.
        length: samples of the clips.

    Yields:
        Five methods.
    """
    from isincnet_jax.phase import retrieval

    frames, bins = 1 + length // HOP, 1 + N_FFT // 2
    common: dict[str, Any] = {
        "family": "phase retrieval",
        "phase": "blind",
        "domain": f"{bins} magnitudes/frame, {sample_rate / HOP:g} frames/s",
        "coefficients_per_s": bins * frames * sample_rate / length,
        "parameters": 0,
        "settings": {"n_fft": N_FFT, "hop_length": HOP, "iterations": ITERATIONS, "seed": 0},
    }
    operators = retrieval.stft_operators(n_fft=N_FFT, hop_length=HOP, length=length)
    for name, retrieve in retrievals().items():
        yield Method(
            name,
            reconstruct=functools.partial(from_magnitude, operators, retrieve),
            description=f"{ITERATIONS} iterations from a random phase, STFT of {N_FFT}, hop {HOP}",
            given=functools.partial(magnitudes, operators),
            **common,
        )
    fine = N_FFT // 8  # phase gradients are differences of neighbours: frames must overlap more
    fine_operators = retrieval.stft_operators(n_fft=N_FFT, hop_length=fine, length=length)
    yield Method(
        "PGHI",
        reconstruct=functools.partial(_pghi, fine_operators, hop_length=fine),
        description=f"phase gradient heap integration, no iterations, STFT of {N_FFT}, hop {fine}",
        given=functools.partial(magnitudes, fine_operators),
        **common
        | {
            "domain": f"{bins} magnitudes/frame, {sample_rate / fine:g} frames/s",
            # One real number for each bin and frame.
            "coefficients_per_s": bins * (1 + length // fine) * sample_rate / length,
            "settings": {"n_fft": N_FFT, "hop_length": fine, "seed": 0},
        },
    )
    filters = auditory.mel_weights(sample_rate, n_fft=N_FFT, n_mels=MELS)
    yield Method(
        f"mel {MELS} NNLS + fast Griffin-Lim {ITERATIONS}",
        reconstruct=functools.partial(_from_mel, operators, filters),
        description=f"{MELS} Slaney mels, non-negative least squares, {ITERATIONS} iterations",
        given=functools.partial(_mels, operators, filters),
        **common
        | {
            "domain": f"{MELS} mel magnitudes/frame, {sample_rate / HOP:g} frames/s",
            "coefficients_per_s": MELS * frames * sample_rate / length,
        },
    )


def retrievals() -> dict[str, Callable[..., Any]]:
    """Iterative phase retrieval by name: magnitude and operators to a waveform.

    Returns:
        Functions of a magnitude [batch, frames, bins] and, as keywords, the operators and a phase.
    """
    from isincnet_jax.phase import retrieval

    count = {"num_iterations": ITERATIONS}
    return {
        f"Griffin-Lim {ITERATIONS}": functools.partial(retrieval.griffin_lim, **count),
        f"fast Griffin-Lim {ITERATIONS}": functools.partial(
            retrieval.griffin_lim, momentum=0.99, **count
        ),
        f"ADMM {ITERATIONS}": functools.partial(retrieval.admm, **count),
    }


def random_phase(shape: tuple[int, ...]) -> jax.Array:
    """Random phase to start from, the same for every clip, so that batches do not matter.

    Args:
        shape: [batch, frames, bins].

    Returns:
        float32 radians, U(0, 2 pi), equal along the batch.
    """
    one = jax.random.uniform(jax.random.key(0), shape[-2:], jnp.float32, 0.0, 2.0 * np.pi)
    return jnp.broadcast_to(one, shape)


@jax.jit
def magnitudes(operators: Any, waveform: Any) -> jax.Array:
    """Magnitudes: what operators leave of a waveform without its phase.

    Args:
        operators: of :mod:`isincnet_jax.phase.retrieval`.
        waveform: [batch, time].

    Returns:
        [batch, frames, bins], 0 or more.
    """
    return jnp.abs(operators.analyse(waveform))


def from_magnitude(operators: Any, retrieve: Callable[..., Any], waveform: Any) -> Any:
    """Retrieves the phase that operators' magnitudes of a waveform have lost.

    Args:
        operators: analysis and synthesis.
        retrieve: of :func:`retrievals`.
        waveform: [batch, time], of which only the magnitudes are used.

    Returns:
        [batch, time].
    """
    magnitude = magnitudes(operators, jnp.asarray(waveform))
    return retrieve(magnitude, **operators._asdict(), phase=random_phase(magnitude.shape))


def _pghi(operators: Any, waveform: np.ndarray, *, hop_length: int) -> Any:
    from isincnet_jax.phase import heap_integration, retrieval

    magnitude = magnitudes(operators, jnp.asarray(waveform))
    # gamma of the Gaussian exp(-pi t^2 / gamma) nearest to the window, samples squared
    gamma = heap_integration.window_gamma("hann", N_FFT)
    angles = [
        heap_integration.phase_gradient_heap_integration(
            clip, n_fft=N_FFT, hop_length=hop_length, gamma=gamma, key=jax.random.key(0)
        )
        for clip in np.asarray(magnitude)
    ]
    wrapped = np.mod(np.stack(angles), 2.0 * np.pi).astype(np.float32)
    return operators.synthesise(
        retrieval.initial_coefficients(magnitude, phase=jnp.asarray(wrapped))
    )


def _mels(operators: Any, filters: np.ndarray, waveform: Any) -> jax.Array:
    """Mels of magnitudes, [..., frames, mels]."""
    return auditory.weigh_bins(magnitudes(operators, jnp.asarray(waveform)), filters)


def _from_mel(operators: Any, filters: np.ndarray, waveform: Any) -> Any:
    from isincnet_jax.phase import mel_inversion, retrieval

    mel = _mels(operators, filters, waveform)
    magnitude = mel_inversion.mel_to_magnitude(mel, filters)  # of least squares
    start = random_phase(magnitude.shape)
    return retrieval.griffin_lim(
        magnitude,
        **operators._asdict(),
        num_iterations=ITERATIONS,
        momentum=0.99,
        phase=start,
    )


def codec_methods(
    *, sample_rate: int, levels: Mapping[str, Sequence[float]] = LEVELS
) -> Iterator[Method]:
    """FLAC and the lossy codecs that this libsndfile can write.

    Args:
        sample_rate: Hz. Opus takes 8, 12, 16, 24 and 48 kHz only: other clips are resampled to
            the next of these and back.
        levels: of compression, 0 to 1, by codec: "Opus", "Vorbis" and "MP3".

    Yields:
        Methods whose sizes are those of whole files. libsndfile has taken the delay of coder and
        decoder away.
    """
    import soundfile

    yield _codec("FLAC 16 bits", ("FLAC", "PCM_16", None), sample_rate=sample_rate)
    for name, chosen in levels.items():
        container, subtype = _LOSSY[name]
        if container not in soundfile.available_formats():
            continue
        if name == "Opus" and sample_rate > _OPUS_RATES[-1]:
            continue
        if subtype not in soundfile.available_subtypes(container):
            continue
        for level in chosen:
            title = f"{name} {level:g}"
            yield _codec(title, (container, subtype, level), sample_rate=sample_rate, curve=name)


def _codec(
    name: str, kind: tuple[str, str, float | None], *, sample_rate: int, curve: str | None = None
) -> Method:
    import soundfile

    container, subtype, level = kind
    options: dict[str, Any] = {"format": container, "subtype": subtype}
    if level is not None:
        options["compression_level"] = level
    if container == "MP3":
        options["bitrate_mode"] = "VARIABLE"
    version = soundfile.__libsndfile_version__
    rates = _OPUS_RATES if curve == "Opus" else (sample_rate,)
    rate = next(each for each in rates if each >= sample_rate)
    resampled = f", at {rate / 1000:g} kHz" if rate != sample_rate else ""
    common: dict[str, Any] = {"sample_rate": sample_rate, "rate": rate, "options": options}
    return Method(
        name,
        "lossless codec" if container == "FLAC" else "lossy codec",
        functools.partial(_through_file, **common),
        f"libsndfile {version}, whole files counted"
        + ("" if level is None else f", compression level {level:g}")
        + resampled,
        domain="a file",
        parameters=0,
        settings={**options, "libsndfile": version, "rate": rate},
        compiled=False,
        curve=curve,
        file_bits=lambda clip: 8 * len(_file_of(clip, **common)),
    )


def _file_of(clip: np.ndarray, *, sample_rate: int, rate: int, options: dict[str, Any]) -> bytes:
    """The bytes of a codec's file."""
    import soundfile
    import soxr

    memory = io.BytesIO()
    # Samples beyond full scale are clipped, as files of integers would.
    samples = np.clip(soxr.resample(clip, sample_rate, rate), -1.0, 1.0)
    soundfile.write(memory, samples, rate, **options)
    return memory.getvalue()


def _through_file(waveform: np.ndarray, **options: Any) -> Coded:
    """Each clip through a file in memory; nothing is shifted, short output is an error."""
    import soundfile
    import soxr

    decoded, sizes = [], []
    sample_rate, rate = options["sample_rate"], options["rate"]
    for clip in waveform:
        content = _file_of(clip, **options)
        samples, found = soundfile.read(io.BytesIO(content), dtype="float32")
        samples = soxr.resample(samples, rate, sample_rate)
        if found != rate or len(samples) < len(clip):
            raise ValueError(
                f"{len(samples)} samples at {found} Hz came back of {len(clip)} at {rate} Hz"
            )
        sizes.append(8 * len(content))
        decoded.append(samples[: len(clip)])
    return Coded(np.stack(decoded), sizes)
