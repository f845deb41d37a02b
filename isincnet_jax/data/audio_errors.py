"""Errors of audio files."""

from __future__ import annotations


class AudioError(ValueError):
    """An audio file that cannot be read or written; the message names the file and the reason."""
