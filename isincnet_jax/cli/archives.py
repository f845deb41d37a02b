"""``isincnet encode`` and ``decode``: coefficients and codes in files."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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

    from isincnet_jax.models.archive import Header
    from isincnet_jax.models.autoencoder import Codec


@app.command()
def encode(
    source: InputFile,
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Archive to write, .npz.")],
    model: ModelOption = DEFAULT_MODEL,
    q_bits: BitsOption = None,
    scales: ScalesOption = "signal",
) -> None:
    """Encode IN into coefficients (float32) or, with --q-bits, into codes."""
    import numpy as np

    from isincnet_jax.data import audio_writing
    from isincnet_jax.models import archive, blocks

    if target.suffix != ".npz":
        raise ValueError(f"{target}: archives end in .npz; use {target.with_suffix('.npz').name}")
    codec = load_model(model)
    info, read = open_input(source, codec)
    quantizer = fitted_quantizer(codec, read, q_bits, scales)
    counted = _Counter(read())
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
    source: Annotated[Path, typer.Argument(metavar="IN", help="Archive of `isincnet encode`.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Audio file to write.")],
    model: Annotated[
        str | None, typer.Option("--model", help="Insist on this model instead of the archive's.")
    ] = None,
    model_rate: Annotated[
        bool, typer.Option("--model-rate", help="Keep the model's rate; do not resample back.")
    ] = False,
) -> None:
    """Decode an archive; the result has the original's rate and length unless told otherwise."""
    from isincnet_jax.data import audio_files, audio_writing
    from isincnet_jax.models import archive, blocks

    with archive.ArchiveReader(source) as reader:
        header = reader.header
        codec = _codec_of(header, model, source)
        quantizer = reader.quantizer()
        rows = reader.rows()
        num_channels, rows = _peek_channels(rows)
        if quantizer is not None:
            rows = blocks.dequantize_rows(rows, quantizer)
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
            subtype="PCM_24" if header.q_bits else "FLOAT",
        )
    say(f"wrote {target}: {written / rate:.2f} s, {num_channels} channels, {rate} Hz")


def _peek_channels(rows: Iterator[np.ndarray]) -> tuple[int, Iterator[np.ndarray]]:
    """The audio channels of the first chunk, and the sequence with it."""
    first = next(rows)  # an archive has rows, or its reader says that it is damaged
    return first.shape[1], itertools.chain([first], rows)


def _codec_of(header: Header, model: str | None, source: Path) -> Codec:
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
