"""Puts the training scripts into wheels: ``isincnet vocoder train`` runs them from there."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ExperimentsHook(BuildHookInterface):
    """``experiments/`` as ``isincnet_jax/_experiments``; editable installs have the checkout's."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a wheel is built."""
        if version != "editable":
            build_data["force_include"]["experiments"] = "isincnet_jax/_experiments"
