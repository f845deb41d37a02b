"""Damaged and forged token files: each is decoded or refused, in little time and room.

    python benchmarks/fuzz_tokens.py [--count 100000] [--seed 0]

Small files (one and two audio channels; frames of one size, of many, for ears, and lossless ones,
of which both layers and the first alone are decoded) are damaged in one of five ways: bytes
changed; bytes changed and all checksums made right, so that the decoder sees them; cut; extended;
fields of the header drawn at random, with right checksums. Anything but the samples of the header's
length or a ``TokenFileError`` is a failure. Time is that of the slowest file, memory the peak of
the process beyond what it needed before the first one.
"""

from __future__ import annotations

import argparse
import collections
import functools
import resource
import struct
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common
import numpy as np

import isincnet_jax as isn
from isincnet_jax.tokens import token_writer
from isincnet_jax.tokens.block_file import TokenFileError
from isincnet_jax.tokens.token_file import TokenReader

_HEAD = 90
FIELDS = struct.Struct("<BBHHHIIIQQdffffB16s")
KINDS = ("bytes", "bytes and checksums", "cut", "extended", "header")


def make_files(folder: Path, rng: np.random.Generator) -> list[bytes]:
    found = []
    kinds: tuple[dict[str, Any], ...] = (
        {"snr_db": 15.0},
        {"snr_db": 15.0, "optimise": True},
        {"quality": 9.0},
        {"snr_db": 15.0, "bits": 16},
    )
    for audio in (1, 2):
        for options in kinds:
            samples = (0.01 * rng.standard_normal((700, audio)).cumsum(axis=0)).astype(np.float32)
            samples = np.rint(samples * 32768) / np.float32(32768)
            path = folder / "small.isn"
            spec = isn.LappedSpec(sample_rate=8000, hop_length=64)
            token_writer.write_token_file(
                path, functools.partial(iter, [samples]), spec=spec, **options
            )
            found.append(path.read_bytes())
    return found


def with_checksums(content: bytearray) -> bytearray:
    """The same bytes with right checksums, of the header and of all blocks that are there."""
    if len(content) < _HEAD:
        return content
    content[_HEAD - 4 : _HEAD] = struct.pack("<I", zlib.crc32(content[: _HEAD - 4]))
    begin, index = _HEAD, 0
    layers = 2 if content[_HEAD - 4 - 17] else 1
    while begin + 8 <= len(content):
        (size,) = struct.unpack("<I", content[begin : begin + 4])
        payload = bytes(content[begin + 8 : begin + 8 + size])
        # A residual has the index of its block, and 2^31 more.
        head = struct.pack("<I", index // layers + (index % layers << 31))
        head += content[begin : begin + 4]
        content[begin + 4 : begin + 8] = struct.pack("<I", zlib.crc32(payload, zlib.crc32(head)))
        begin, index = begin + 8 + size, index + 1
    return content


def _payloads(content: bytes) -> np.ndarray:
    """Places of all bytes of payloads."""
    begin, found = _HEAD, []
    while begin < len(content):
        (size,) = struct.unpack("<I", content[begin : begin + 4])
        found.append(np.arange(begin + 8, begin + 8 + size))
        begin += 8 + size
    return np.concatenate(found)


def damage(content: bytes, kind: str, rng: np.random.Generator) -> bytes:
    found = bytearray(content)
    if kind.startswith("bytes"):
        # Sizes of blocks stay, or nothing after them would be reached.
        known = kind == "bytes and checksums"
        places = _payloads(content) if known else np.arange(len(content))
        for position in rng.choice(places, rng.integers(1, 9)):
            found[position] ^= int(rng.integers(1, 256))
        return bytes(with_checksums(found) if kind == "bytes and checksums" else found)
    if kind == "cut":
        return bytes(found[: rng.integers(0, len(found))])
    if kind == "extended":
        return bytes(found) + rng.integers(0, 256, rng.integers(1, 200), dtype=np.uint8).tobytes()
    fields: list[Any] = list(FIELDS.unpack(found[9 : 9 + FIELDS.size]))
    for index in rng.integers(0, len(fields) - 1, rng.integers(1, 4)):
        if isinstance(fields[index], float):
            fields[index] = float(rng.choice([0, -1, 1e-30, 1e30, np.nan, np.inf, 0.3]))
        else:
            bits = 8 if index in (0, 1, 15) else 16 if index < 5 else 32 if index < 8 else 64
            fields[index] = int(rng.integers(0, 1 << int(rng.integers(1, bits)), dtype=np.uint64))
    found[9 : 9 + FIELDS.size] = FIELDS.pack(*fields)
    return bytes(with_checksums(found))


def decode(path: Path) -> str:
    """What becomes of a file, and of both layers of a lossless one."""
    try:
        with TokenReader(path) as reader:
            _count(reader, reader.samples())
            is_lossless = reader.header.bits > 0
        if is_lossless:
            with TokenReader(path) as reader:
                _count(reader, reader.pcm())
    except TokenFileError as error:
        return "refused" if "\n" not in str(error) else "in several lines"
    return "decoded"


def _count(reader: TokenReader, blocks: Iterator[np.ndarray]) -> None:
    length, audio = reader.header.length, reader.header.audio_channels
    count = 0
    for block in blocks:
        assert block.shape[1] == audio
        count += len(block)
    assert count == length, f"{count} samples of {length}"


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    outcomes: collections.Counter[tuple[str, str]] = collections.Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        files = make_files(Path(folder), rng)
        path = Path(folder) / "damaged.isn"
        for content in files:  # compiles, and fills the caches
            path.write_bytes(content)
            assert decode(path) == "decoded"
        before = peak_mib()
        for index in range(args.count):
            kind = KINDS[index % len(KINDS)]
            path.write_bytes(damage(files[rng.integers(len(files))], kind, rng))
            begin = time.perf_counter()
            outcomes[kind, decode(path)] += 1
            slowest = max(slowest, time.perf_counter() - begin)
    rows = [[kind, outcomes[kind, "refused"], outcomes[kind, "decoded"]] for kind in KINDS]
    common.print_table("Damaged files", ["damage", "refused", "decoded"], rows)
    if sum(sum(row[1:]) for row in rows) != args.count:
        raise SystemExit("some were refused in several lines")
    grown = peak_mib() - before
    print(f"slowest {slowest:.2f} s, {grown:.0f} MiB more than before")
    common.write_results(
        "fuzz_tokens",
        {
            **common.describe_run(args),
            "count": args.count,
            "slowest_s": slowest,
            "grown_mib": grown,
            "rows": [dict(zip(("damage", "refused", "decoded"), row, strict=True)) for row in rows],
        },
    )


if __name__ == "__main__":
    main()
