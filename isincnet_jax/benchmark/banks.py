"""Methods of the benchmark that are built on the presets: exact inverses, tokens, magnitudes."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from isincnet_jax.benchmark import baselines
from isincnet_jax.benchmark.methods import Coded, Method

_BITS, _STEPS = (8, 4), (0.064, 0.032, 0.016, 0.008, 0.002)
_FLAGS = {"optimise": "optimised"}


def geometry(spec: Any, *, magnitudes: bool = False) -> dict[str, Any]:
    """Geometry of a bank, for a method's facts: what it keeps of a sound.

    Args:
        spec: with ``num_bins``, ``num_channels`` and ``frame_rate_hz``.
        magnitudes: one number for each bin instead of one for each channel.

    Returns:
        "domain", as text, and "coefficients_per_s".
    """
    count = spec.num_bins if magnitudes else spec.num_channels
    kind = "magnitudes" if magnitudes else "real coefficients"
    return {
        "domain": f"{count} {kind}/frame, {spec.frame_rate_hz:g} frames/s",
        "coefficients_per_s": float(count * spec.frame_rate_hz),
    }


def lazy(build: Callable[[], Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """A method that is built when it is first called, so that stored results cost nothing.

    Args:
        build: makes the function; called once, with the first waveform.

    Returns:
        A function of the waveform.
    """
    built = functools.lru_cache(maxsize=1)(build)

    def run(waveform: Any) -> Any:
        return built()(waveform)

    return run


@functools.lru_cache(maxsize=4)
def _preset(name: str) -> Any:
    from isincnet_jax.pretrained import hub

    return hub.from_pretrained(name)


def preset_methods(*, sample_rate: int, length: int) -> Iterator[Method]:
    """The presets of a rate; of the linear one also codes, the mel projection, magnitudes.

    Args:
        sample_rate: Hz; presets of other rates are left out.
        length: samples of the clips, which the operators of phase retrieval are made for.

    Yields:
        Methods that load nothing until they are called.
    """
    from isincnet_jax.pretrained.registry import LAPPED, PRESETS

    found = {name: one for name, one in PRESETS.items() if one.spec.sample_rate == sample_rate}
    for name, preset in found.items():
        yield Method(
            name,
            "linear inverse",
            lazy(lambda name=name: round_trip(_preset(name))),
            preset.summary,
            parameters=0,
            checkpoint="solved",
            **geometry(preset.spec),
        )
    for name, preset in found.items():
        if preset.spec.scale != "linear" or preset.spec.causal:
            continue
        if preset.projections:
            yield _projection(name, preset)
        yield from _tokens(name, preset)
        yield from _magnitudes(name, preset, length)
    for name, lapped in LAPPED.items():
        if lapped.spec.sample_rate == sample_rate and not name.endswith("-fast"):
            yield from _lapped(name, lapped)


def round_trip(codec: Any, scale: str | None = None) -> Callable[[Any], Any]:
    """Round trip of a codec: encoded and decoded.

    Args:
        codec: with ``encode`` and ``decode``.
        scale: of a projection in between, "mel_slaney" say; None for the bank's own bins.

    Returns:
        A function of the waveform [batch, time].
    """

    def run(waveform: Any) -> Any:
        spectrogram = codec.encode(waveform, scale=scale)
        return codec.decode(spectrogram, length=waveform.shape[-1], scale=scale)

    return run


def _projection(name: str, preset: Any) -> Method:
    scale = preset.projections[0]
    return Method(
        f"{name} mel projection",
        "linear inverse",
        lazy(lambda: round_trip(_preset(name), scale)),
        f"{preset.spec.num_bins} {scale} bins from the linear ones and back, as iSincNet 0.1.0",
        parameters=0,
        checkpoint="solved",
        settings={"scale": scale},
        **geometry(preset.spec),
    )


def _tokens(name: str, preset: Any) -> Iterator[Method]:
    for q_bits in _BITS:
        common: dict[str, Any] = {
            "family": "tokens",
            "parameters": 0,
            "checkpoint": "solved",
            "settings": {"q_bits": q_bits, "scales": "signal"},
            # bits a coefficient, channels a frame, frames a second: codes as they are, not coded
            "kbit_per_s": q_bits * preset.spec.num_channels * preset.spec.frame_rate_hz / 1e3,
            **geometry(preset.spec),
        }
        yield Method(
            f"{name} {q_bits} bits",
            reconstruct=lazy(lambda q_bits=q_bits: companded(_preset(name), q_bits=q_bits)),
            description="mu-law codes with the peak of each channel, the exact decoder, raw bits",
            curve=f"{name} companded, raw bits",
            **common,
        )
        yield Method(
            f"{name} {q_bits} bits weighted",
            reconstruct=lazy(lambda q_bits=q_bits: _weighted(preset, q_bits)),
            description="the same codes, least squares weighted by the width of the cells",
            curve=f"{name} companded, weighted, raw bits",
            **common,
        )


def companded(codec: Any, *, q_bits: int, code: str = "symmetric") -> Callable[[Any], Any]:
    """Encodes, quantises and decodes; the symmetric code with scales from each clip.

    Args:
        codec: with a ``quantizer``.
        q_bits: of the codes, 2 to 16.
        code: "symmetric", or "reference" for iSincNet's own, which fits no scales.

    Returns:
        A function of the waveform [batch, time].
    """
    quantizer = codec.quantizer(q_bits=q_bits, code=code)

    @jax.jit
    def through(spectrogram: Any) -> Any:
        fitted = quantizer.fit(spectrogram) if code == "symmetric" else quantizer
        return fitted.decode(fitted.encode(spectrogram))

    return lambda waveform: codec.decode(through(codec.encode(waveform)), length=waveform.shape[-1])


def _weighted(preset: Any, q_bits: int) -> Callable[[Any], Any]:
    from isincnet_jax.tokens.token_codec import TokenCodec

    model = TokenCodec(preset.spec, preset.decoder, q_bits=q_bits, num_blocks=None)
    like = jnp.zeros((1, preset.spec.hop_length), jnp.float32)
    variables = model.init(jax.random.key(0), like)
    return functools.partial(jax.jit(model.apply), variables)


def token_file_method(name: str, spec: Any, **options: Any) -> Method:
    """Token files as a method: steps and an entropy coder.

    Args:
        name: of the lapped preset.
        spec: its bank.
        options: of :func:`.token_writer.write_token_file`: "step", "optimise" and the like.

    Returns:
        Named by the preset and the options, ``"16khz-lapped optimised step 0.008"``; sizes are
        those of real files.
    """
    flags = [_FLAGS.get(key, key) for key, value in options.items() if value is True]
    numbers = {key: value for key, value in options.items() if not isinstance(value, bool)}
    return Method(
        " ".join((name, *flags, *(f"{key} {value:g}" for key, value in numbers.items()))),
        "tokens",
        functools.partial(_through_file, spec, options),
        f"MDCT and {'steps by band' if 'quality' in options else 'one step'}: the size of the .isn "
        "file, header included"
        + (", frames and rounding follow the recording" if options.get("optimise") else ""),
        parameters=0,
        checkpoint="none",
        settings=options,
        curve=", ".join((name, *flags, *(key for key in numbers if key != "step"))),
        file_bits=functools.partial(_file_bits, spec, options),
        **geometry(spec),
    )


def _lapped(name: str, preset: Any) -> Iterator[Method]:
    for is_optimised in (False, True):
        for step in _STEPS:
            yield token_file_method(name, preset.spec, step=step, optimise=is_optimised)


def _written(path: Path, clip: np.ndarray, spec: Any, options: Mapping[str, Any]) -> int:
    """Bytes of the token file of a clip, which is left at the path."""
    from isincnet_jax.tokens import token_writer

    read = functools.partial(iter, [clip[:, None]])
    return token_writer.write_token_file(path, read, spec=spec, **options).num_bytes


def _through_file(spec: Any, options: Mapping[str, Any], waveform: Any) -> Coded:
    from isincnet_jax.tokens import token_file

    sizes, decoded = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.isn"
        for clip in np.asarray(waveform):
            sizes.append(8 * _written(path, clip, spec, options))
            with token_file.TokenReader(path) as reader:
                decoded.append(np.concatenate(list(reader.samples()))[:, 0])
    return Coded(np.stack(decoded), sizes)


def _file_bits(spec: Any, options: Mapping[str, Any], clip: np.ndarray) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return 8 * _written(Path(folder) / "clip.isn", clip, spec, options)


def _magnitudes(name: str, preset: Any, length: int) -> Iterator[Method]:
    from isincnet_jax.benchmark.operators import bank_operators

    common: dict[str, Any] = {
        "family": "phase retrieval",
        "phase": "blind",
        "parameters": 0,
        "checkpoint": "solved",
        "settings": {"iterations": baselines.ITERATIONS, "seed": 0},
        "given": lazy(
            lambda: functools.partial(
                baselines.magnitudes, bank_operators(_preset(name), length=length)
            )
        ),
        **geometry(preset.spec, magnitudes=True),
    }
    for title, retrieve in baselines.retrievals().items():
        # The loop's value as a default: it is called after the loop has gone on.
        def build(retrieve: Any = retrieve) -> Callable[[Any], Any]:
            operators = bank_operators(_preset(name), length=length)
            return functools.partial(baselines.from_magnitude, operators, retrieve)

        yield Method(
            f"{name} magnitudes {title}",
            reconstruct=lazy(build),
            description="the magnitudes of our own bank, a random start",
            **common,
        )
    yield Method(
        f"{name} magnitudes PGHI",
        reconstruct=lazy(lambda: functools.partial(_bank_pghi, _preset(name), length)),
        description="the magnitudes of our own bank, phase gradient heap integration",
        **common,
    )


def _bank_pghi(codec: Any, length: int, waveform: Any) -> Any:
    """Phase gradients of a uniform bank: a windowed DFT of 2 (bins - 1) points."""
    from isincnet_jax.benchmark.operators import bank_operators
    from isincnet_jax.phase import heap_integration, retrieval

    operators = bank_operators(codec, length=length)
    magnitude = baselines.magnitudes(operators, jnp.asarray(waveform))
    n_fft = 2 * (codec.spec.num_bins - 1)  # bins from 0 to the Nyquist frequency
    options = {
        "n_fft": n_fft,
        "hop_length": codec.spec.hop_length,
        "gamma": _envelope_gamma(codec.spec),
        "key": jax.random.key(0),
    }
    angles = np.stack(
        [
            heap_integration.phase_gradient_heap_integration(clip, **options)
            for clip in np.asarray(magnitude)
        ]
    )
    # Our bins turn the other way, exp(+2 pi i k n / N), and count from the middle of the frame.
    turn = 2.0 * np.pi * (n_fft // 2) / n_fft * np.arange(codec.spec.num_bins)
    wrapped = np.mod(-(angles + turn), 2.0 * np.pi).astype(np.float32)
    return operators.synthesise(
        retrieval.initial_coefficients(magnitude, phase=jnp.asarray(wrapped))
    )


def _envelope_gamma(spec: Any) -> float:
    """Gamma of the Gaussian ``exp(-pi t^2 / gamma)`` with the largest correlation to a filter."""
    import scipy.optimize

    kernels = spec.bank.kernels
    # Of a filter in the middle of the range: |c + i s|, cosine and sine channel.
    middle = spec.num_bins // 2
    envelope = np.hypot(kernels[middle], kernels[middle + spec.num_bins])
    squares = (np.arange(len(envelope)) - len(envelope) // 2) ** 2

    def mismatch(log_gamma: float) -> float:
        # -<envelope, g> / ||g||, g = exp(-pi t^2 / gamma): the negative correlation, unnormalised
        gauss = np.exp(-np.pi * squares / np.exp(log_gamma))
        return -float(envelope @ gauss) / float(np.linalg.norm(gauss))

    # ln(gamma), samples squared: from a Gaussian of e samples to one as long as the filter.
    bounds = (2.0, 2.0 * np.log(len(envelope)))
    found: Any = scipy.optimize.minimize_scalar(mismatch, bounds=bounds)
    return float(np.exp(found.x))
