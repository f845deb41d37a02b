"""``isincnet encode`` and ``decode``: coefficients and codes in files."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isincnet_jax.cli import token_files
from isincnet_jax.cli.common import (
    DEFAULT_MODEL,
    BitsOption,
    InputFile,
    ModelOption,
    ScalesOption,
    app,
    fitted_quantizer,
    load_model,
    open_input,
    say,
)

if TYPE_CHECKING:
    import numpy as np

    from isincnet_jax.layers.quantizer import Quantizer
    from isincnet_jax.models.archive import Header
    from isincnet_jax.models.autoencoder import Codec
    from isincnet_jax.models.token_header import TokenHeader


@app.command()
def encode(
    source: InputFile,
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File to write: .npz, or .isn.")],
    *,
    model: ModelOption = DEFAULT_MODEL,
    q_bits: BitsOption = None,
    scales: ScalesOption = "signal",
    entropy: Annotated[
        bool, typer.Option("--entropy", help="Entropy-code into an .isn file; implied by .isn.")
    ] = False,
    step: Annotated[
        float | None, typer.Option("--step", help="Uniform codes of this step (.isn).")
    ] = None,
    snr: Annotated[
        float | None,
        typer.Option("--snr", help="Uniform codes of so many dB (.isn; 25 unless told)."),
    ] = None,
) -> None:
    """Encode IN into coefficients (float32), codes (--q-bits), or entropy-coded codes (.isn)."""
    if entropy or target.suffix == token_files.SUFFIX:
        token_files.check_options(target, q_bits, step, snr)
    elif step is not None or snr is not None:
        raise ValueError(f"{target}: --step and --snr make entropy-coded files; name it .isn")
    elif target.suffix != ".npz":
        fix = target.with_suffix(".npz").name
        raise ValueError(f"{target}: archives end in .npz; use {fix}")
    codec = load_model(model)
    info, read = open_input(source, codec)
    if target.suffix == ".npz":
        quantizer = fitted_quantizer(codec, read, q_bits, scales)
        counted = _Counter(read())
        _write_archive(target, codec, info, counted, quantizer=quantizer, model=model)
        return
    chosen = token_files.choose_quantizer(
        codec, read, q_bits=q_bits, step=step, snr_db=snr, scales=scales
    )
    counted = _Counter(read())
    token_files.write_tokens(target, codec, info, counted, quantizer=chosen, model=model)


def _write_archive(
    target: Path,
    codec: Codec,
    info: Any,
    counted: _Counter,
    *,
    quantizer: Quantizer | None,
    model: str,
) -> None:
    """Encodes a recording into an .npz archive."""
    import numpy as np

    from isincnet_jax.data import audio_writing
    from isincnet_jax.models import archive, blocks

    rows = blocks.encode_blocks(codec, counted)
    with audio_writing.replacing(target) as temporary:
        num_frames = archive.write_archive(
            temporary,
            rows if quantizer is None else blocks.quantize_rows(rows, quantizer),
            make_header=lambda: archive.Header(
                spec=codec.spec,
                model=model,
                length=counted.rows,
                original_length=info.num_samples,
                original_rate=info.sample_rate,
                q_bits=quantizer.q_bits if quantizer else 0,
                mu=quantizer.mu if quantizer else 0.0,
                code=quantizer.code if quantizer else "symmetric",
            ),
            scales=None if quantizer is None else np.asarray(quantizer.scale),
        )
    kind = "float32 coefficients" if quantizer is None else f"{quantizer.q_bits}-bit codes"
    say(
        f"wrote {target}: {num_frames} frames x {info.num_channels} audio channels x "
        f"{codec.spec.num_channels} {kind}, {target.stat().st_size} bytes"
    )


class _Counter:
    """An iterator over arrays that counts the rows that went by."""

    def __init__(self, blocks: Iterator[np.ndarray]) -> None:
        self._blocks = blocks
        self.rows = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            self.rows += len(block)
            yield block


@app.command()
def decode(
    source: Annotated[Path, typer.Argument(metavar="IN", help="File of `isincnet encode`.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Audio file to write.")],
    model: Annotated[
        str | None, typer.Option("--model", help="Insist on this model instead of the archive's.")
    ] = None,
    model_rate: Annotated[
        bool, typer.Option("--model-rate", help="Keep the model's rate; do not resample back.")
    ] = False,
) -> None:
    """Decode a file; the result has the original's rate and length unless told otherwise."""
    from isincnet_jax.data import audio_files, audio_writing
    from isincnet_jax.models import archive, blocks, token_file

    is_coded = source.suffix == token_files.SUFFIX
    with token_file.TokenReader(source) if is_coded else archive.ArchiveReader(source) as reader:
        header = reader.header
        codec = _codec_of(header, model, source)
        quantizer = reader.quantizer()
        rows = reader.rows()
        num_channels, rows = _peek_channels(rows)
        if quantizer is not None:
            rows = blocks.dequantize_rows(rows, quantizer)  # type: ignore[arg-type]
        samples = blocks.decode_blocks(codec, rows, length=header.length)
        rate = header.spec.sample_rate if model_rate else header.original_rate
        length = header.length if model_rate else header.original_length
        if rate != header.spec.sample_rate:
            say(f"{source.name}: resampled from {header.spec.sample_rate} Hz back to {rate} Hz")
        resampled = audio_files.resample_blocks(
            samples, source_rate=header.spec.sample_rate, target_rate=rate
        )
        written = audio_writing.write_blocks(
            target,
            blocks.exactly(resampled, length),
            sample_rate=rate,
            num_channels=num_channels,
            subtype="FLOAT" if quantizer is None else "PCM_24",
        )
    say(f"wrote {target}: {written / rate:.2f} s, {num_channels} channels, {rate} Hz")


def _peek_channels(rows: Iterator[np.ndarray]) -> tuple[int, Iterator[np.ndarray]]:
    """The audio channels of the first chunk, and the sequence with it."""
    first = next(rows)  # an archive has rows, or its reader says that it is damaged
    return first.shape[1], itertools.chain([first], rows)


def _codec_of(header: Header | TokenHeader, model: str | None, source: Path) -> Codec:
    """The codec that made an archive: by name if that still has the same bank, else by spec."""
    from isincnet_jax.layers.sincnet import SincNet
    from isincnet_jax.models.autoencoder import build_codec
    from isincnet_jax.pretrained import hub

    name = header.model
    if model is not None:
        codec = load_model(model)
        if codec.spec == header.spec:
            return codec
        raise ValueError(
            f"{source}: was encoded with another bank ({header.model}, {header.spec.digest()}) "
            f"than {model} ({codec.spec.digest()}); leave --model out"
        )
    if name in hub.REGISTRY or "://" in name or Path(name).exists():
        codec = load_model(name)
        if codec.spec == header.spec:
            return codec
    say(f"{source.name}: no {header.model!r} with its bank here; decoding by the bank's inverse")
    return build_codec(SincNet(header.spec), name=f"bank {header.spec.digest()}")
