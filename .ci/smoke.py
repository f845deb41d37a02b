"""A slice of everything in two minutes: what is installed works with the versions beside it.

``python smoke.py COLAB [NAME ...]`` runs the functions ``check_NAME`` below, all if none is named,
in an empty folder; COLAB is the folder of the notebooks. Warnings are printed and do no harm.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["MPLBACKEND"] = "agg"

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import soundfile

import isincnet_jax as isn
from isincnet_jax import jax_names
from isincnet_jax.dsp.distances import snr_db

EXACT_DB = 110.0
CLIP = isn.demo_waveform(16_000)[:32_000]
COLAB = Path(sys.argv[1]).resolve()


def _isincnet(*words: object) -> str:
    command = [sys.executable, "-m", "isincnet_jax.cli", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
    return done.stdout


def _exact(found: object, target: np.ndarray, least_db: float = EXACT_DB) -> None:
    snr = float(snr_db(prediction=jnp.asarray(found), target=jnp.asarray(target)))
    assert snr > least_db, f"{snr:.1f} dB, expected more than {least_db:g}"


def check_command_line() -> None:
    """Help, and the demo with its sounds and pictures."""
    assert "reconstruct" in _isincnet("--help")
    _isincnet("demo", "demo")
    for kind in ("wav", "png"):
        assert list(Path("demo").glob(f"*.{kind}"))


def check_codec() -> None:
    """The presets' round trip in both precisions, stored and loaded."""
    codec = isn.from_pretrained("16khz-linear")
    _exact(codec.decode(codec.encode(CLIP), length=CLIP.size), CLIP)
    again = isn.from_pretrained(isn.export_pretrained(codec, "bank.zip"))
    np.testing.assert_array_equal(again.encode(CLIP), codec.encode(CLIP))
    with jax_names.enable_x64(True):
        wide = isn.from_pretrained(
            isn.export_pretrained(isn.from_pretrained("16khz-mel", dtype=jnp.float64), "wide"),
            dtype=jnp.float64,
        )
        double = CLIP.astype(np.float64)
        _exact(wide.decode(wide.encode(double), length=CLIP.size), double, 200.0)


def check_spectrograms() -> None:
    """STFT and its inverse, mel."""
    layer = isn.STFT(n_fft=512, hop_length=128, output_format="complex")
    coefficients = layer.apply(layer.init(jax.random.key(0), CLIP), CLIP)
    inverse = isn.InverseSTFT(n_fft=512, hop_length=128)
    _exact(inverse.apply({}, coefficients, length=CLIP.size), CLIP)
    mel = isn.MelSpectrogram(sample_rate=16_000)
    assert np.all(np.isfinite(mel.apply(mel.init(jax.random.key(0), CLIP), CLIP)))


def check_constant_q() -> None:
    """A constant-Q transform, and the one that comes back."""
    layer = isn.CQT1992v2(sample_rate=16_000, fmin=110.0, n_bins=48)
    bins = layer.apply(layer.init(jax.random.key(0), CLIP), CLIP)
    assert bins.shape[-1] == 48
    assert np.all(np.isfinite(bins))
    inverse = isn.InvertibleCQT(sample_rate=16_000)
    variables = inverse.init(jax.random.key(0), CLIP)
    found = inverse.apply(variables, CLIP, method="encode")
    _exact(inverse.apply(variables, found, length=CLIP.size, method="decode"), CLIP)


def check_tokens() -> None:
    """Tokens to a file and back, at the SNR asked for."""
    soundfile.write("in.wav", CLIP, 16_000, subtype="FLOAT")
    _isincnet("encode", "in.wav", "out.isn", "--snr", 25)
    _isincnet("decode", "out.isn", "back.wav")
    _exact(soundfile.read("back.wav")[0], CLIP, 24.5)


def check_streaming() -> None:
    """Chunk by chunk as at once."""
    spec = isn.FilterbankSpec(sample_rate=16_000, shape="none", causal=True)
    codec = isn.low_latency_codec(spec)
    encoder, decoder = isn.stream_encoder(codec), isn.stream_decoder(codec)
    listening, speaking = encoder.init(), decoder.init()
    pieces = []
    for chunk in np.split(CLIP, range(1000, CLIP.size, 1000)):
        listening, frames = encoder.step(listening, chunk)
        speaking, samples = decoder.step(speaking, frames)
        pieces.append(samples)
    pieces.append(decoder.finish(speaking, encoder.finish(listening), length=CLIP.size))
    _exact(np.concatenate(pieces, axis=-1)[: CLIP.size], CLIP)


def check_vocoder() -> None:
    """A shipped vocoder, and the table of recordings to train one."""
    vocoder = isn.from_pretrained("22khz-speech-vocoder")
    clip = isn.demo_waveform(vocoder.sample_rate)[:44_100]
    magnitude = np.asarray(vocoder.spectrogram(clip))
    found = np.asarray(vocoder.spectrogram(vocoder.synthesize(magnitude, length=clip.size)))
    assert np.linalg.norm(found - magnitude) < 0.5 * np.linalg.norm(magnitude)
    Path("recordings").mkdir()
    for index in range(10):
        soundfile.write(f"recordings/{index}.wav", np.roll(clip, 100 * index), 22_050)
    _isincnet("vocoder", "preprocess", "recordings", "index")


def check_inversynth() -> None:
    """A shipped estimator renders what it estimates."""
    soundfile.write("sound.wav", CLIP, 16_000)
    _isincnet("synth", "match", "sound.wav", "matched.wav", "--params", "matched.json")
    assert np.all(np.isfinite(soundfile.read("matched.wav")[0]))


def check_training() -> None:
    """A step on two devices, a checkpoint, the state back from it."""
    from isincnet_jax.training import checkpoints, losses, optimizers, parallel, state, step  # noqa: PLC0415

    model = isn.SincNet(
        isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none"),
        learnable_filters=True,
        learnable_decoder=True,
    )
    optimizer = optimizers.make_optimizer(optimizers.OptimizerSpec(total_steps=10))
    one_step = step.make_step(
        lambda variables, waveform, key: model.apply(variables, waveform),
        loss=losses.weighted_loss({"l1": 1.0, "log_stft": 1.0}),
        optimizer=optimizer,
        sample_rate=8000,
    )
    clips = CLIP[:32_000].reshape(4, -1)
    start = state.create_state(
        model.init(jax.random.key(0), clips), optimizer, key=jax.random.key(1)
    )
    copies = parallel.replicate(start)
    batch = parallel.shard(parallel.split_batch(clips))
    copies, metrics = parallel.parallel_step(one_step)(copies, batch)
    assert np.all(np.isfinite(metrics["loss"])), metrics
    trained = parallel.first_copy(copies)
    with checkpoints.Checkpoints("run") as kept:
        kept.save(1, trained, metrics={"snr_db": 1.0})
    with checkpoints.Checkpoints("run") as kept:
        restored = kept.restore(start)
        assert restored is not None
        jax.tree.map(np.testing.assert_array_equal, restored.state.params, trained.params)


def check_export() -> None:
    """A program for any batch and length, run from its bytes."""
    _isincnet("export", "16khz-linear", "encode.stablehlo", "--part", "encode")
    program = jax.export.deserialize(bytearray(Path("encode.stablehlo").read_bytes()))
    found = program.call(jnp.asarray(CLIP)[None])
    wanted = isn.from_pretrained("16khz-linear").encode(CLIP[None])
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def check_notebook() -> None:
    """The quick start from top to bottom, in a kernel."""
    import nbclient  # noqa: PLC0415
    import nbformat  # noqa: PLC0415

    notebook = nbformat.read(COLAB / "quickstart.ipynb", as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(COLAB)}}
    ).execute()
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert "runs on CPU" in first.outputs[0].text, first.outputs


if __name__ == "__main__":
    names = sys.argv[2:] or [name[6:] for name in list(globals()) if name.startswith("check_")]
    with tempfile.TemporaryDirectory(prefix="isincnet-smoke-") as folder:
        os.chdir(folder)
        for name in names:
            began = time.perf_counter()
            globals()[f"check_{name}"]()
            print(f"  {name:14} {time.perf_counter() - began:5.1f} s", flush=True)
