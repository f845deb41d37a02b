"""Splits of a corpus: which track belongs to which, on every machine the same, or as files say."""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol, runtime_checkable

from isincnet_jax.data.corpus import CorpusError

_LOG = logging.getLogger(__name__)

SPLIT_NAMES = ("train", "validation", "test")
FRACTIONS: Mapping[str, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}
AUDIO_SUFFIXES = frozenset(
    {".wav", ".au", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".caf", ".w64"}
    | {".rf64", ".m4a", ".mp4"}
)


@runtime_checkable
class Named(Protocol):
    """Anything with a name and a group."""

    @property
    def name(self) -> str:
        """Unique among the tracks that are divided."""
        ...

    @property
    def group(self) -> str:
        """That every split shall have its share of: a genre, say."""
        ...


def split_tracks(
    tracks: Iterable[Named], *, fractions: Mapping[str, float] | None = None, seed: int = 0
) -> dict[str, tuple[str, ...]]:
    """Divides tracks by name, group by group.

    The tracks of a group are ordered by the SHA-256 of ``"seed:name"`` and cut in proportion, by
    largest remainders. A group with at least as many tracks as there are splits has one in each;
    groups with fewer are put together first and divided as one, train before the others.

    Args:
        tracks: with ``name`` and ``group``, in any order.
        fractions: share of each split, in any unit; 0.8, 0.1, 0.1 if None. Zero leaves a split
            empty.
        seed: another one gives another division.

    Returns:
        Sorted names of every split in ``fractions``; every track is in exactly one.

    Raises:
        CorpusError: if a name comes twice.
        ValueError: for fractions that are negative or all zero.
    """
    shares = dict(FRACTIONS if fractions is None else fractions)
    if not shares or min(shares.values()) < 0 or sum(shares.values()) <= 0:
        raise ValueError(f"fractions={shares}: shares are 0 or more, and not all are 0")
    groups: dict[str, list[str]] = {}
    for track in tracks:
        groups.setdefault(track.group, []).append(track.name)
    _check_unique(name for names in groups.values() for name in names)
    wanted = {split: share for split, share in shares.items() if share > 0}
    # A group that every split can have one track of is a stratum; all smaller ones are one.
    strata = [names for names in groups.values() if len(names) >= len(wanted)]
    strata.append([name for names in groups.values() if len(names) < len(wanted) for name in names])
    found: dict[str, list[str]] = {split: [] for split in shares}
    for names in strata:
        names.sort(key=lambda name: (_hash(f"{seed}:{name}"), name))
        start = 0
        for split, count in _counts(len(names), wanted).items():
            found[split] += names[start : start + count]
            start += count
    return {split: tuple(sorted(names)) for split, names in found.items()}


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _check_unique(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise CorpusError(f"two tracks are called {name!r}; names are unique")
        seen.add(name)


def _counts(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Largest remainders, then at least one for as many splits as there are tracks."""
    whole = sum(shares.values())
    # Quotas n share / whole, rounded down; what is left goes to the largest remainders.
    quotas = {split: total * share / whole for split, share in shares.items()}
    counts = {split: int(quota) for split, quota in quotas.items()}
    # A stable sort: equal remainders are served in the order of the splits.
    by_remainder = sorted(shares, key=lambda split: counts[split] - quotas[split])
    for split in by_remainder[: total - sum(counts.values())]:
        counts[split] += 1
    # Small groups: train first, then the others, taken from the split that has the most.
    for split in list(shares)[:total]:
        if counts[split] == 0:
            richest = max(counts, key=lambda other: counts[other])
            counts[richest] -= 1
            counts[split] = 1
    return counts


def read_split_files(
    folder: str | Path, splits: Sequence[str] = SPLIT_NAMES
) -> dict[str, tuple[str, ...]]:
    """Reads ``train.txt``, ``validation.txt`` and, if there, ``test.txt``.

    One track or pattern a line; what follows a ``#`` is a comment.

    Args:
        folder: of the files.
        splits: which of them; "test" may be missing beside others.

    Returns:
        Lines of each split, for :func:`match_splits`.

    Raises:
        CorpusError: if a file is missing, cannot be read, or names no track.
    """
    folder = Path(folder)
    found = {}
    needed = [split for split in splits if split != "test"] or splits
    for split in splits:
        path = folder / f"{split}.txt"
        if split not in needed and not path.exists():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            names = " and ".join(f"{name}.txt" for name in needed)
            raise CorpusError(
                f"{path}: cannot be read: {error}; a folder of splits has {names}"
            ) from error
        lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
        found[split] = tuple(dict.fromkeys(line for line in lines if line))
        if not found[split]:
            raise CorpusError(f"{path}: names no track")
    return found


def as_entry(name: str) -> str:
    """A line of a split file that means this track, whatever its name looks like there.

    Args:
        name: of a track.

    Returns:
        The name, or a pattern that means the same.
    """
    if name == name.strip() and not re.search(r"(^|\s)#", name):
        return name
    escaped = glob.escape(name).replace("#", "[#]")
    return re.sub(r"^\s|\s$", lambda space: f"[{space[0]}]", escaped)


def match_splits(
    patterns: Mapping[str, Sequence[str]], names: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """The tracks that split files mean.

    A pattern is compared with the end of a name, folder by folder, with or without the extension
    of an audio file: ``blues/blues.00029.wav``, ``blues.00029`` and ``*.0002[0-9]`` all mean
    ``blues/blues.00029``. Wildcards are those of fnmatch and stay within one folder. Patterns
    that mean no track are counted in a warning; tracks that no pattern means are left out.

    Args:
        patterns: of each split, see :func:`read_split_files`.
        names: all tracks.

    Returns:
        Sorted names of each split.

    Raises:
        CorpusError: if a split is empty or a track is in two of them.
    """
    names = list(names)
    found: dict[str, tuple[str, ...]] = {}
    owner: dict[str, str] = {}
    for split, lines in patterns.items():
        matches = _matches(lines, names)
        unmatched = [line for line, matched in matches.items() if not matched]
        if unmatched:
            _LOG.warning(
                "split %s: %d of %d entries name no track, %s for instance",
                split,
                len(unmatched),
                len(matches),
                unmatched[0],
            )
        members = sorted({name for matched in matches.values() for name in matched})
        if not members:
            raise CorpusError(
                f"split {split}: none of its {len(matches)} entries ({next(iter(matches), '')}, "
                f"...) names one of the {len(names)} tracks ({next(iter(names), '')}, ...)"
            )
        for name in members:
            if owner.setdefault(name, split) != split:
                raise CorpusError(
                    f"{name}: in the splits {owner[name]} and {split}; take it out of one"
                )
        found[split] = tuple(members)
    if len(owner) < len(names):
        _LOG.info("%d of %d tracks are in no split", len(names) - len(owner), len(names))
    return found


def _matches(lines: Iterable[str], names: Sequence[str]) -> dict[str, list[str]]:
    parts = {name: _components(name) for name in names}
    by_file: dict[str, list[str]] = {}
    for name, components in parts.items():
        by_file.setdefault(components[-1], []).append(name)
    found: dict[str, list[str]] = {}
    for line in lines:
        wanted = _components(line) or ("",)
        # Literally first: a name may have brackets of its own.
        found[line] = [
            name
            for name in by_file.get(wanted[-1], ())
            if all(a == b for a, b in zip(reversed(wanted), reversed(parts[name]), strict=False))
        ]
        if not found[line] and re.search(r"[*?[]", line):
            found[line] = [name for name in names if _fits(wanted, parts[name])]
    return found


def _fits(wanted: tuple[str, ...], components: tuple[str, ...]) -> bool:
    depth = min(len(wanted), len(components))
    pairs = zip(components[-depth:], wanted[-depth:], strict=True)
    return all(fnmatch.fnmatchcase(component, pattern) for component, pattern in pairs)


def _components(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name.replace("\\", "/"))
    return tuple(part for part in without_suffix(path).parts if part not in ("/", "."))


def without_suffix(path: PurePosixPath) -> PurePosixPath:
    """A path without the extension, if that is one of audio: ``a.00001`` keeps its number.

    Args:
        path: of a track or a file.

    Returns:
        The same path where its extension is another.
    """
    return path.with_suffix("") if path.suffix.lower() in AUDIO_SUFFIXES else path
