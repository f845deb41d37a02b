"""Batches over devices, copies of states, and how hosts are told of each other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.training import parallel


@pytest.mark.parametrize(("size", "devices", "share"), [(8, 8, 1), (32, 8, 4), (3, 1, 3)])
def test_shares(size, devices, share):
    assert parallel.check_batch(size, num_devices=devices) == share


@pytest.mark.parametrize(
    ("size", "nearest"), [(0, 8), (-3, 8), (1, 8), (11, 8), (13, 16), (12, 8), (31, 32)]
)
def test_batches_that_devices_cannot_share(size, nearest):
    with pytest.raises(
        ValueError,
        match=rf"batch_size={size} does not divide by 8 devices on 2 host\(s\); the nearest that "
        rf"does is {nearest}$",
    ):
        parallel.check_batch(size, num_devices=8, num_hosts=2)


def test_the_devices_of_this_process_are_the_default():
    assert parallel.check_batch(16) == 2
    with pytest.raises(ValueError, match=r"divide by 8 devices on 1 host\(s\)"):
        parallel.check_batch(9)


def test_copies_there_and_back(kit, rng):
    tree = {
        "a": jnp.asarray(rng.standard_normal((3, 2)), jnp.float32),
        "b": (np.int32(4), jnp.zeros((), jnp.bfloat16)),
    }
    for devices in (None, jax.devices()[2:5]):
        copies = parallel.replicate(tree, devices)
        count = 8 if devices is None else 3
        assert copies["a"].shape == (count, 3, 2)
        assert len(copies["a"].sharding.device_set) == count
        np.testing.assert_array_equal(copies["a"][-1], tree["a"])
        kit.assert_equal_trees(parallel.first_copy(copies), tree)


def test_copies_outlive_their_source():
    devices = jax.devices()[:2]
    copies = parallel.replicate({"a": np.arange(5, dtype=np.float32)}, devices)
    kept = parallel.first_copy(copies)
    double = jax.pmap(
        lambda tree: jax.tree.map(lambda x: 2 * x, tree), donate_argnums=(0,), devices=devices
    )
    for _ in range(3):
        copies = double(copies)
    np.testing.assert_array_equal(kept["a"], np.arange(5))
    np.testing.assert_array_equal(parallel.first_copy(copies)["a"], 8 * np.arange(5))
    kept["a"][:] = 0  # writable, and nobody else's
    np.testing.assert_array_equal(parallel.first_copy(copies)["a"], 8 * np.arange(5))


def test_slices_go_to_their_devices(kit):
    clips = kit.batch(0)
    shards = parallel.shard(parallel.split_batch(clips))
    for index, (device, piece) in enumerate(
        zip(jax.local_devices(), shards.addressable_shards, strict=True)
    ):
        assert piece.device == device
        np.testing.assert_array_equal(np.asarray(piece.data)[0, 0], clips[index])
    assert parallel.split_batch(clips, 2).shape == (2, 4, kit.samples)
    np.testing.assert_array_equal(parallel.split_batch(clips, 2)[1, 0], clips[4])


class TestHosts:
    @pytest.fixture
    def calls(self, monkeypatch):
        calls = []
        monkeypatch.setattr(jax.distributed, "initialize", lambda *args: calls.append(args))
        monkeypatch.setenv("JAX_PLATFORMS", "none")  # leaves the configuration of this process
        return calls

    @pytest.mark.parametrize(
        "options",
        [{"coordinator": "a:1"}, {"num_hosts": 2}, {"host_index": 0, "coordinator": "a:1"}],
    )
    def test_all_three_or_none(self, calls, options):
        with pytest.raises(ValueError, match="give all three, or coordinator='auto', or none"):
            parallel.initialize_hosts(**options)
        assert calls == []

    def test_what_is_given_is_passed_on(self, calls):
        parallel.initialize_hosts()
        assert calls == []
        parallel.initialize_hosts(coordinator="auto")
        assert calls == [()]
        parallel.initialize_hosts(coordinator="a:1", num_hosts=2, host_index=0)
        assert calls[1:] == [("a:1", 2, 0)]
