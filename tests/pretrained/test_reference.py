"""The PyTorch reference: golden numbers, its weights, and files that mean harm."""

from __future__ import annotations

import os
import pickle
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax import FilterbankSpec, Quantizer, SincNet, build_codec, load_reference
from isincnet_jax.bank import quantizer
from isincnet_jax.bank.decoder_spec import DecoderSpec
from isincnet_jax.pretrained.torch_archive import CheckpointError, read_tensors

V5 = {
    "16000fs_128fps_128bins_lin_complex_ncausal": (
        "isincnet_16000hz_128fps_lin_complex",
        {},
    ),
    "16000fs_128fps_128bins_lin_real_causal": (
        "isincnet_16000hz_128fps_lin_real",
        {"component": "real"},
    ),
    "16000fs_128fps_128bins_mel_complex_ncausal": (
        "isincnet_16000hz_128fps_mel_complex",
        {"scale": "mel"},
    ),
    "44100fs_350fps_128bins_lin_complex_ncausal": (
        "isincnet_44100hz_350fps_lin_complex",
        {"sample_rate": 44_100, "frame_rate": 350},
    ),
    "44100fs_350fps_128bins_mel_complex_ncausal": (
        "isincnet_44100hz_350fps_mel_complex",
        {"sample_rate": 44_100, "frame_rate": 350, "scale": "mel"},
    ),
}
V1 = "v0.1.0_16000fs_128fps_128bins_real_causal"
V1_GOLDEN = "isincnet_v010_16000hz_128fps_real_causal"
FREE = DecoderSpec("free", num_frames=3, first_frame=-1)


def assert_codes_agree(codes, expected, spectrogram, q_bits):
    """Equal codes, except where the companded value is within 1e-5 of an edge of its cell."""
    mu = 2.0**q_bits - 1
    x = np.asarray(spectrogram, np.float64)
    companded = np.sign(x) * np.log(1 + mu * np.abs(x)) / np.log(1 + mu)
    level = mu * (companded + 1) / 2
    near_edge = np.abs(level - np.round(level)) < 1e-5 * mu / 2
    np.testing.assert_array_equal(np.asarray(codes)[~near_edge], expected[~near_edge])
    assert np.max(np.abs(np.asarray(codes) - expected)) <= 1


def reference_code(q_bits) -> Quantizer:
    return quantizer.make_quantizer(FilterbankSpec(), q_bits=q_bits, code="reference")


@pytest.mark.parametrize(("name", "arguments"), V5.values(), ids=V5)
def test_geometry_alone_reproduces_the_golden_spectrogram(golden, name, arguments):
    file = golden(name)
    spec = FilterbankSpec.reference(**arguments)
    np.testing.assert_allclose(
        spec.design_kernels()[file["filter_rows"]], file["filters"], rtol=0, atol=2e-7
    )
    codec = build_codec(SincNet(spec, FREE, learnable_decoder=True))
    found = codec.encode(file["waveform"])
    # float32 sums of 500 products in another order.
    np.testing.assert_allclose(found, file["spectrogram"].T, rtol=0, atol=1e-5)


@pytest.mark.parametrize("q_bits", [4, 8, 10])
def test_codes_of_the_golden_spectrogram_are_the_golden_codes(golden, q_bits):
    file = golden("isincnet_16000hz_128fps_lin_complex")
    code, spectrogram = reference_code(q_bits), file["spectrogram"]
    codes = code.encode(jnp.asarray(spectrogram))
    assert_codes_agree(codes, file[f"codes_q{q_bits}"], spectrogram, q_bits)
    np.testing.assert_allclose(
        code.decode(jnp.asarray(file[f"codes_q{q_bits}"], jnp.int32)),
        file[f"dequantized_q{q_bits}"],
        rtol=0,
        atol=1e-6,  # float32 powers of up to 1024
    )


@pytest.mark.parametrize("scale", ["lin", "mel"])
def test_geometry_alone_reproduces_the_golden_filters_of_0_1_0(golden, scale):
    file = golden(V1_GOLDEN)
    spec = FilterbankSpec.reference(version="0.1.0", component="real", scale=scale)
    expected = file["filters" if scale == "lin" else "mel_filters"]
    found = spec.design_kernels()[file["filter_rows"]]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-7)


@pytest.fixture
def weights(shared):
    def find(model_id):
        path = shared / "reference_weights" / f"{model_id}.ckpt"
        if not path.is_file():
            pytest.skip(f"{path.name} is not among the shared material")
        return path

    return find


@pytest.mark.quick(2)
@pytest.mark.parametrize("model_id", V5)
def test_trained_0_5_weights_give_the_golden_numbers(golden, weights, model_id):
    name, arguments = V5[model_id]
    file, codec = golden(name), load_reference(weights(model_id))
    assert codec.spec == FilterbankSpec.reference(**arguments)
    kernels = np.asarray(codec.variables["filterbank"]["analysis"]["analysis"])
    rows = file["filter_rows"]
    np.testing.assert_allclose(kernels[rows], file["filters"].real, rtol=0, atol=2e-7)
    if codec.spec.component == "complex":
        np.testing.assert_allclose(kernels[rows + 128], file["filters"].imag, rtol=0, atol=2e-7)
    spectrogram = codec.encode(file["waveform"])
    np.testing.assert_allclose(spectrogram, file["spectrogram"].T, rtol=0, atol=1e-5)
    decoded = codec.decode(spectrogram)
    np.testing.assert_allclose(decoded, file["decoded"], rtol=0, atol=1e-5)
    for q_bits in (4, 8, 10):
        code = reference_code(q_bits)
        codes = code.encode(spectrogram)
        expected = file[f"codes_q{q_bits}"].T
        assert_codes_agree(codes, expected, file["spectrogram"].T, q_bits)
        dequantized = code.decode(jnp.asarray(expected, jnp.int32))
        np.testing.assert_allclose(
            codec.decode(dequantized), file[f"decoded_q{q_bits}"], rtol=0, atol=2e-5
        )


@pytest.mark.parametrize("scale", ["lin", "mel"])
def test_trained_0_1_0_weights_give_the_golden_numbers(golden, weights, scale):
    file, codec = golden(V1_GOLDEN), load_reference(weights(V1))
    asked = None if scale == "lin" else "mel"
    spectrogram = codec.encode(file["waveform"], scale=asked)
    np.testing.assert_allclose(spectrogram, file[f"spectrogram_{scale}"].T, rtol=0, atol=1e-5)
    decoded = codec.decode(spectrogram, scale=asked)
    np.testing.assert_allclose(decoded, file[f"decoded_{scale}"], rtol=0, atol=1e-5)
    expected = file[f"codes_q8_{scale}"].T
    code = reference_code(8)
    assert_codes_agree(code.encode(spectrogram), expected, file[f"spectrogram_{scale}"].T, 8)
    dequantized = code.decode(jnp.asarray(expected, jnp.int32))
    np.testing.assert_allclose(
        codec.decode(dequantized, scale=asked), file[f"decoded_q8_{scale}"], rtol=0, atol=2e-5
    )


def test_wrong_rate_is_refused(weights):
    path = weights("16000fs_128fps_128bins_lin_real_causal")
    with pytest.raises(CheckpointError, match="is for 16000 Hz, not 44100 Hz"):
        load_reference(path, sample_rate=44_100)
    assert load_reference(path, sample_rate=16_000).spec.sample_rate == 16_000


# Archives by hand. The pickles are written opcode by opcode, so that PyTorch is not needed.

MODEL_ID = "16000fs_128fps_128bins_lin_real_causal"


def integers(values) -> bytes:
    return b"(" + b"".join(b"I%d\n" % value for value in values) + b"t"


def tensor(key="0", *, count, size, stride, offset=0, kind=b"FloatStorage") -> bytes:
    """A call of torch._utils._rebuild_tensor_v2 on a storage."""
    storage = b"(Vstorage\nctorch\n" + kind + b"\nV%s\nVcpu\nI%d\ntQ" % (key.encode(), count)
    layout = b"I%d\n" % offset + integers(size) + integers(stride)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + layout + b"I00\nNtR"


def dictionary(items: dict[str, bytes]) -> bytes:
    return b"(d" + b"".join(b"V%s\n%ss" % (k.encode(), v) for k, v in items.items())


def write(path, index: bytes, storages=None, *, root=MODEL_ID, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{root}/data.pkl", index)
        archive.writestr(f"{root}/byteorder", b"little")
        for key, values in (storages or {}).items():
            archive.writestr(f"{root}/data/{key}", np.asarray(values, "<f4").tobytes())
    return path


VALUES = np.arange(6, dtype=np.float32)


def test_plain_tensors_are_read_with_their_strides(tmp_path):
    index = dictionary(
        {
            "rows": tensor(count=6, size=(2, 3), stride=(3, 1)),
            "columns": tensor(count=6, size=(3, 2), stride=(1, 3)),
            "part": tensor(count=6, size=(2,), stride=(2,), offset=1),
            "empty": tensor(count=6, size=(0, 4), stride=(4, 1)),
            "number": b"I7\n",
        }
    )
    root, content = read_tensors(write(tmp_path / "a.ckpt", index + b".", {"0": VALUES}))
    assert root == MODEL_ID
    np.testing.assert_array_equal(content["rows"], VALUES.reshape(2, 3))
    np.testing.assert_array_equal(content["columns"], VALUES.reshape(2, 3).T)
    np.testing.assert_array_equal(content["part"], [1.0, 3.0])
    assert content["empty"].shape == (0, 4)
    assert content["number"] == 7


class Call:
    """Pickles as a call of anything."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile_calls(marker):
    touch = f"open({str(marker)!r}, 'w').close()"
    return {
        "os.system": Call(os.system, f"touch {marker}"),
        "eval": Call(eval, touch),
        "exec": Call(exec, touch),
        "open": Call(open, str(marker), "w"),
        "os.mkdir": Call(os.mkdir, str(marker)),
    }


@pytest.mark.parametrize("name", ["os.system", "eval", "exec", "open", "os.mkdir"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_hostile_pickles_are_refused_and_run_nothing(tmp_path, name, protocol):
    marker = tmp_path / "executed"
    data = pickle.dumps({"state_dict": hostile_calls(marker)[name]}, protocol=protocol)
    path = write(tmp_path / "hostile.ckpt", data)
    with pytest.raises(CheckpointError, match=r"hostile.ckpt.* which is refused"):
        load_reference(path)
    assert not marker.exists()
    # The same bytes do their work in an ordinary unpickler: the test means something.
    result = pickle.loads(data)
    if hasattr(result["state_dict"], "close"):
        result["state_dict"].close()
    assert marker.exists()


@pytest.mark.parametrize(
    "name",
    [
        b"cposix\nsystem\n",
        b"cbuiltins\neval\n",
        b"c__builtin__\neval\n",
        b"csubprocess\nPopen\n",
        b"cnumpy\nload\n",
        b"ctorch\nload\n",
        b"ctorch._utils\n_rebuild_tensor\n",
        b"ccollections\nCounter\n",
        b"cisincnet_jax.pretrained.torch_archive\n_rebuild_tensor\n",
        b"ctorch.serialization\n_get_layout\n",
    ],
)
def test_names_beyond_the_known_ones_are_refused(tmp_path, name):
    path = write(tmp_path / "a.ckpt", b"(dVkey\n" + name + b"s.")
    with pytest.raises(CheckpointError, match="which is refused"):
        read_tensors(path)


BAD_TENSORS = {
    "too large": {"count": 6, "size": (7,), "stride": (1,)},
    "offset beyond": {"count": 6, "size": (6,), "stride": (1,), "offset": 1},
    "stride beyond": {"count": 6, "size": (3,), "stride": (3,)},
    "negative offset": {"count": 6, "size": (2,), "stride": (1,), "offset": -1},
    "negative stride": {"count": 6, "size": (2,), "stride": (-1,)},
    "negative size": {"count": 6, "size": (-1,), "stride": (1,)},
    "expanded to a bomb": {"count": 6, "size": (10**12,), "stride": (0,)},
    "sizes that overflow": {"count": 6, "size": (2**32, 2**32), "stride": (0, 0)},
    "strides missing": {"count": 6, "size": (2, 3), "stride": (1,)},
    "another count": {"count": 5, "size": (5,), "stride": (1,)},
    "another type": {"count": 6, "size": (6,), "stride": (1,), "kind": b"DoubleStorage"},
    "missing storage": {"key": "9", "count": 6, "size": (6,), "stride": (1,)},
    "path as a key": {"key": "../0", "count": 6, "size": (6,), "stride": (1,)},
    "unknown type": {"count": 6, "size": (6,), "stride": (1,), "kind": b"BFloat16Storage"},
}


@pytest.mark.parametrize("layout", BAD_TENSORS.values(), ids=BAD_TENSORS)
def test_impossible_tensors_are_refused(tmp_path, layout):
    index = dictionary({"x": tensor(**layout)}) + b"."
    path = write(tmp_path / "bad.ckpt", index, {"0": VALUES})
    with pytest.raises(CheckpointError, match=r"bad.ckpt"):
        read_tensors(path)


GOOD = dictionary({"x": tensor(count=6, size=(6,), stride=(1,))}) + b"."


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.95])
def test_truncated_archive_is_refused(tmp_path, kept):
    path = write(tmp_path / "torn.ckpt", GOOD, {"0": VALUES})
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(CheckpointError, match=r"torn.ckpt: not a zip-format checkpoint"):
        read_tensors(path)


def test_damaged_storage_is_refused(tmp_path):
    path = write(tmp_path / "bits.ckpt", GOOD, {"0": VALUES})
    data = path.read_bytes()
    path.write_bytes(data.replace(VALUES.tobytes(), VALUES[::-1].tobytes()))
    with pytest.raises(CheckpointError, match=r"bits.ckpt"):
        read_tensors(path)


@pytest.mark.parametrize("content", [b"", b"just text", b"\x80\x02}q\x00."])
def test_file_that_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "text.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"text.ckpt: not a zip-format checkpoint"):
        read_tensors(path)


def test_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="not a zip-format checkpoint"):
        read_tensors(tmp_path)


def test_missing_file_is_a_file_not_found_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing.ckpt: no such file"):
        load_reference(tmp_path / "nothing.ckpt")


def test_compressed_members_are_refused(tmp_path):
    path = write(tmp_path / "small.ckpt", GOOD, {"0": VALUES}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="compressed members"):
        read_tensors(path)


def test_archive_without_an_index_is_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("root/readme.txt", "nothing")
    with pytest.raises(CheckpointError, match=r"no data.pkl inside"):
        read_tensors(path)


def test_big_endian_archive_is_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("root/data.pkl", GOOD)
        archive.writestr("root/byteorder", b"big")
    with pytest.raises(CheckpointError, match="big-endian"):
        read_tensors(path)


def test_oversized_index_is_refused(tmp_path):
    path = write(tmp_path / "a.ckpt", b"N" * (1 << 23))
    with pytest.raises(CheckpointError, match="its index is over 4 MB"):
        read_tensors(path)


@pytest.mark.parametrize("index", [b"I3\n.", b"(lI1\na.", b"."])
def test_index_that_is_no_dictionary_is_refused(tmp_path, index):
    with pytest.raises(CheckpointError):
        read_tensors(write(tmp_path / "a.ckpt", index))


def checkpoint(tmp_path, tensors: dict[str, np.ndarray], *, root=MODEL_ID, wrapped=True):
    """A well-formed checkpoint of float32 tensors."""
    items, storages = {}, {}
    for number, (name, values) in enumerate(tensors.items()):
        size = values.shape
        stride = [int(np.prod(size[axis + 1 :])) for axis in range(len(size))]
        items[name] = tensor(str(number), count=values.size, size=size, stride=stride)
        storages[str(number)] = values
    index = dictionary(items)
    if wrapped:
        index = dictionary({"state_dict": index})
    return write(tmp_path / "made.ckpt", index + b".", storages, root=root)


def made_tensors():
    """Filters of the real causal bank (complex in the file, but read as given) and a decoder."""
    spec = FilterbankSpec.reference(component="real")
    filters = spec.design_kernels().real[:, None, :].astype(np.float32)
    weights = np.zeros((125, 128, 3), np.float32)
    weights[:, 5, 1] = np.arange(125)  # the frame at the block itself
    weights[:, 6, 0] = 1.0  # the frame before
    return {"encoder.filters": filters, "decoder.conv1d.weight": weights}


@pytest.mark.parametrize("wrapped", [True, False])
def test_made_checkpoint_decodes_as_a_convolution_over_frames(tmp_path, rng, wrapped):
    codec = load_reference(checkpoint(tmp_path, made_tensors(), wrapped=wrapped))
    spectrogram = rng.standard_normal((4, 128)).astype(np.float32)
    found = np.asarray(codec.decode(jnp.asarray(spectrogram))).reshape(4, 125)
    for block in range(4):
        before = spectrogram[block - 1, 6] if block else 0.0
        expected = spectrogram[block, 5] * np.arange(125) + before
        np.testing.assert_allclose(found[block], expected, rtol=1e-5, atol=1e-4)


def without(name):
    return lambda tensors: tensors.pop(name)


def change(name, function):
    return lambda tensors: tensors.__setitem__(name, function(tensors[name]))


FAULTS = {
    "no filters": (without("encoder.filters"), "no encoder.filters"),
    "no decoder": (without("decoder.conv1d.weight"), "no decoder.Winv"),
    "filters of another size": (
        change("encoder.filters", lambda x: x[:, :, :-2]),
        "filters of shape .* expected",
    ),
    "other filters": (change("encoder.filters", lambda x: 1.01 * x), "filters differ"),
    "filters of NaN": (change("encoder.filters", lambda x: x * np.nan), "filters differ"),
    "decoder of another hop": (
        change("decoder.conv1d.weight", lambda x: x[:124]),
        "decoder of shape",
    ),
    "decoder of another rank": (
        change("decoder.conv1d.weight", lambda x: x[..., 0]),
        "decoder of shape",
    ),
}


@pytest.mark.parametrize(("fault", "message"), FAULTS.values(), ids=FAULTS)
def test_checkpoint_that_is_no_isincnet_is_refused(tmp_path, fault, message):
    tensors = made_tensors()
    fault(tensors)
    with pytest.raises(CheckpointError, match=message):
        load_reference(checkpoint(tmp_path, tensors))


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("archive", "neither the file nor its root folder 'archive' is named by a model id"),
        ("16000fs_128fps_64bins_lin_real_causal", "64 bins where 128 were expected"),
    ],
)
def test_model_id_must_say_the_geometry(tmp_path, root, message):
    with pytest.raises(CheckpointError, match=message):
        load_reference(checkpoint(tmp_path, made_tensors(), root=root))
