"""Token ids: a bijection for every order and all codes; sequences of models decode or fail."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import isincnet_jax as isn
from isincnet_jax.tokens.token_ids import TokenIds

ORDERS = ("frames", "interleaved", "bins")


def naive(ids: TokenIds, codes: np.ndarray) -> list[int]:
    """The definition, one code after the other."""
    audio, frames, bins = codes.shape
    if ids.order == "frames":
        rows = [codes[a, f] for f in range(frames) for a in range(audio)]
    elif ids.order == "interleaved":
        rows = [[codes[a, f, b] for b in range(bins) for a in range(audio)] for f in range(frames)]
    else:
        rows = [codes[a, :, b] for b in range(bins) for a in range(audio)]
    found = []
    for row in rows:
        values = [int(value) for value in row]
        while values and not values[-1]:
            values.pop()
        for value in values:
            rest = value
            while abs(rest) >= ids.largest:
                found.append(2 * ids.largest if rest > 0 else 0)
                rest -= ids.largest if rest > 0 else -ids.largest
            found.append(rest + ids.largest)
        found.append(2 * ids.largest + 1)
    return found


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6)),
    order=st.sampled_from(ORDERS),
    largest=st.sampled_from([2, 3, 127]),
    spread=st.sampled_from([0, 1, 5, 300]),
)
@example(seed=0, shape=(1, 1, 1), order="frames", largest=2, spread=0)
def test_ids_are_the_definition_and_come_back(seed, shape, order, largest, spread):
    rng = np.random.default_rng(seed)
    codes = rng.integers(-spread, spread + 1, shape) * (rng.random(shape) < 0.6)
    ids = TokenIds(shape[2], shape[0], order, largest)
    found = ids.encode(codes)
    np.testing.assert_array_equal(found, naive(ids, codes))
    assert found.dtype == np.int32
    assert found.min() >= 0
    assert found.max() < ids.vocabulary
    again = ids.decode(found, num_frames=shape[1])
    np.testing.assert_array_equal(again, codes)
    if order != "bins":
        np.testing.assert_array_equal(ids.decode(found), codes)


@pytest.mark.parametrize("order", ORDERS)
def test_a_sequence_may_stop_anywhere(rng, order):
    codes = rng.integers(-300, 301, (2, 4, 5))
    ids = TokenIds(5, 2, order)
    whole = ids.encode(codes)
    for size in range(len(whole)):
        found = ids.decode(whole[:size], num_frames=4)
        assert found.shape == codes.shape
        assert ((found == codes) | (found == 0)).mean() > 1 - 1 / codes.size - 1e-9


def test_what_is_no_sequence_is_refused():
    ids = TokenIds(3)
    for wrong, message in (
        ([256], "ids|codes"),
        ([-1], "ids|codes"),
        ([128] * 4, "up to 4 codes: there are 1 of 3"),
        ([254, 255], "ends amid a large code"),
        ([[1, 2]], "a sequence is needed"),
        ([254] * 9000 + [127], "codes beyond"),
    ):
        with pytest.raises(ValueError, match=message):
            ids.decode(np.array(wrong))
    with pytest.raises(ValueError, match="ids of 2 rows"):
        ids.decode(np.array([255, 255]), num_frames=1)
    with pytest.raises(ValueError, match="must be given"):
        TokenIds(3, order="bins").decode(np.array([255]))
    with pytest.raises(TypeError, match="integers"):
        ids.decode(np.array([1.0]))
    with pytest.raises(ValueError, match="3 bins"):
        ids.encode(np.zeros((1, 2, 4), int))
    with pytest.raises(ValueError, match="order="):
        TokenIds(3, order="random")
    with pytest.raises(ValueError, match="largest=1"):
        TokenIds(3, largest=1)


def test_sound_comes_back_from_ids_and_slices_are_slices():
    codec = isn.from_pretrained("16khz-lapped")
    waveform = isn.demo_waveform(16_000)[None, : 20 * 512]
    codes = np.asarray(codec.quantizer().encode(codec.encode(waveform)))
    ids = TokenIds(codec.spec.num_bins)
    sequence = ids.encode(codes)
    assert len(sequence) < codes.size
    np.testing.assert_array_equal(ids.decode(sequence), codes)
    part = waveform[:, 5 * 512 : 12 * 512]
    inner = np.asarray(codec.quantizer().encode(codec.encode(part)))[:, 1:-1]
    text = sequence.tobytes()
    assert ids.encode(inner).tobytes() in text
