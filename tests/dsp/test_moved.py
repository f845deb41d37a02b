"""Modules that users' own code imported from ``dsp`` before they moved."""

from __future__ import annotations

import pytest

from isincnet_jax.bank.dsp import shapes


def test_what_has_moved_is_found_and_said():
    with pytest.warns(DeprecationWarning, match=r"bank\.dsp\.shapes now"):
        from isincnet_jax.dsp import shapes as found
    assert found is shapes


def test_what_was_never_there_is_not_found():
    with pytest.raises(ImportError, match="nothing_of_ours"):
        from isincnet_jax.dsp import nothing_of_ours  # noqa: F401
