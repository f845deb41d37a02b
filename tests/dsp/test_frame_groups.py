"""Items in groups against all of them at once: values, derivatives, batches, devices, memory."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import isincnet_jax as isn
from isincnet_jax.dsp import frame_groups, frame_mapping
from isincnet_jax.dsp.distances import snr_db
from isincnet_jax.dsp.frame_groups import GroupPlan, in_groups

TAPS, HOP = 11, 4


def windowed(stretch: Any, number: int, window: Any) -> jax.Array:
    return frame_mapping.map_frames(
        lambda rows: (rows * window[None],), stretch, num_frames=number, taps=TAPS, hop_length=HOP
    )[0]


def plan_of(num_items: int, *, first: int = 0, samples: Any = None) -> GroupPlan:
    return GroupPlan(
        num_items=num_items,
        stride=HOP,
        axis=-1,
        first=first,
        width=lambda number: (number - 1) * HOP + TAPS,
        item_bytes=4 * TAPS,
        samples=samples,
    )


@pytest.fixture
def small_groups(monkeypatch):
    """Groups of 22 items or so."""
    monkeypatch.setattr(frame_groups, "_LARGEST", 64)
    monkeypatch.setattr(frame_groups, "_AT_ONCE", 64)


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("num_items", [1, 22, 66, 67, 200])
@pytest.mark.parametrize("first", [-7, 0, 5])
def test_items_are_those_cut_out_one_by_one(rng, num_items, first):
    before, signal, after = (rng.standard_normal(size).astype(np.float32) for size in (3, 790, 9))
    window = rng.standard_normal(TAPS).astype(np.float32)
    found = in_groups(windowed, plan_of(num_items, first=first), (before, signal, after), window)
    # The line, with as many zeros around it as any item can reach.
    whole = np.concatenate([np.zeros(97), before, signal, after, np.zeros(200)])
    starts = 100 + first + HOP * np.arange(num_items)
    expected = np.stack([whole[start : start + TAPS] for start in starts]) * window
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("num_items", [3, 150])
@pytest.mark.parametrize(("skipped", "cut"), [(0, 0), (3, 5)])
def test_samples_lie_end_to_end_within_the_clip(rng, num_items, skipped, cut):
    signal = rng.standard_normal((2, 700)).astype(np.float32)
    length = TAPS * num_items - skipped - cut
    plan = plan_of(num_items, samples=(skipped, length))
    nothing = signal[:, :0]
    found = in_groups(windowed, plan, (nothing, signal, nothing), np.ones(TAPS, np.float32))
    blocks = np.stack([signal[:, t * HOP : t * HOP + TAPS] for t in range(num_items)], axis=1)
    np.testing.assert_array_equal(found, blocks.reshape(2, -1)[:, skipped : skipped + length])


@pytest.mark.tail
@pytest.mark.usefixtures("small_groups")
def test_derivatives_are_those_of_all_items_at_once(rng):
    plan = plan_of(150)
    signal = rng.standard_normal(700).astype(np.float32)
    window = rng.standard_normal(TAPS).astype(np.float32)
    weight = rng.standard_normal((150, TAPS)).astype(np.float32)

    def loss(form: Any, signal: Any, window: Any) -> jax.Array:
        nothing = jnp.zeros(0, jnp.float32)
        return jnp.sum(jnp.sin(form((nothing, signal, nothing), window)) * weight)

    grouped = functools.partial(loss, functools.partial(in_groups, windowed, plan))
    whole = functools.partial(loss, functools.partial(frame_groups._whole, windowed, plan))
    for order in (jax.grad, jax.jacfwd):
        for index in (0, 1):
            found, expected = (order(form, index)(signal, window) for form in (grouped, whole))
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    second = jax.grad(lambda s: jnp.sum(jax.grad(grouped)(s, window) ** 2))(signal)
    assert np.all(np.isfinite(second))
    assert np.any(second)


@pytest.mark.usefixtures("small_groups")
def test_batches_by_vmap_are_batches(rng):
    signal = rng.standard_normal((3, 700)).astype(np.float32)
    window = np.ones(TAPS, np.float32)

    def frames(signal: Any) -> jax.Array:
        nothing = signal[..., :0]
        return in_groups(windowed, plan_of(150), (nothing, signal, nothing), window)

    np.testing.assert_array_equal(jax.vmap(frames)(signal), frames(signal))


PRESETS = ("16khz-linear", "16khz-linear-causal")


@pytest.mark.parametrize("preset", PRESETS)
def test_large_batches_need_little_memory_besides_their_result(preset, monkeypatch):
    codec = isn.from_pretrained(preset)
    clips = jax.ShapeDtypeStruct((16, 800_000), jnp.float32)
    spectrogram = jax.eval_shape(codec.encode, clips)
    encode = jax.jit(lambda codec, x: codec.encode(x)).lower(codec, clips).compile()
    decode = jax.jit(lambda codec, s: codec.decode(s, length=800_000))
    compiled = (encode, decode.lower(codec, spectrogram).compile())
    # Whole: 84 to 170 MB.
    assert max(each.memory_analysis().temp_size_in_bytes for each in compiled) < 30e6
    noise = np.random.default_rng(0).standard_normal(clips.shape).astype(np.float32)
    found = encode(codec, noise)
    monkeypatch.setattr(frame_groups, "_LARGEST", 1 << 40)
    expected = jax.jit(lambda codec, x: codec.encode(x))(codec, noise)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    back = compiled[1](codec, found)
    assert snr_db(prediction=back, target=noise) > 120


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("preset", PRESETS)
def test_a_batch_split_over_devices_stays_split(preset):
    codec = isn.from_pretrained(preset)
    mesh = Mesh(np.array(jax.devices()[:8]), ("data",))
    split = NamedSharding(mesh, PartitionSpec("data"))
    clips = np.random.default_rng(0).standard_normal((8, 32_000)).astype(np.float32)

    def round_trip(codec: Any, x: jax.Array) -> jax.Array:
        return codec.decode(codec.encode(x), length=x.shape[-1])

    compiled = jax.jit(round_trip).lower(codec, jax.device_put(clips, split)).compile()
    assert "while" in compiled.as_text()
    assert "all-gather" not in compiled.as_text()
    found = compiled(codec, jax.device_put(clips, split))
    assert snr_db(prediction=found, target=clips) > 120
