"""The jaxtyping annotations tell the truth: a tour of the package with runtime checks on.

Runs in a process of its own, because the checks must be installed before the package is imported
and because their errors come before the package's own.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

TOUR = textwrap.dedent(
    """
    from jaxtyping import install_import_hook

    with install_import_hook("isincnet_jax", "beartype.beartype"):
        import isincnet_jax as isn
        import isincnet_jax.bank.dsp.reflected_edges
        import isincnet_jax.bank.sincnet
        import isincnet_jax.bank.long_signals
        import isincnet_jax.pretrained.description

    import warnings

    import jax
    import jax.numpy as jnp
    import numpy as np

    jax.config.update("jax_numpy_dtype_promotion", "strict")
    warnings.simplefilter("ignore", isn.NotInvertibleWarning)
    small = dict(sample_rate=8000, hop_length=8, num_bins=17)
    specs = [
        isn.FilterbankSpec(**small),
        isn.FilterbankSpec(**small, padding="reflect"),
        isn.FilterbankSpec(**small, scale="mel", shape="gauss", component="real", causal=True),
        isn.FilterbankSpec(**small, tight=True),
        isn.FilterbankSpec.reference(sample_rate=8000, frame_rate=1000),
    ]
    for spec in specs:
        model = isn.SincNet(spec, projections=("bark",))
        codec = isn.build_codec(model)
        for shape in ((40,), (2, 40), (2, 3, 40)) if spec is specs[0] else ((2, 3, 40),):
            waveform = jax.random.normal(jax.random.key(0), shape)
            spectrogram = codec.encode(waveform)
            assert codec.decode(spectrogram, length=40).shape == shape
            codec.decode(codec.encode(waveform, scale="bark"), scale="bark")
            quantizer = codec.quantizer(q_bits=8).fit(spectrogram)
            quantizer.decode(quantizer.encode(spectrogram))
        isn.pretrained.description.describe(codec)
        isn.frame_bounds(spec)
    for window, framing in (("sine", "tiled"), ("kbd", "zeros")):
        lapped = isn.LappedSpec(8000, 16, window=window, framing=framing)
        isn.LappedSpec.from_dict(lapped.to_dict()).window_taps()
        bank = isn.LappedBank(lapped, learnable=framing == "tiled")
        bank.init_with_output(jax.random.key(0), waveform)
        tokens = isn.build_lapped_codec(bank, step=0.5)
        codes = tokens.quantizer().encode(tokens.encode(waveform))
        tokens.decode(tokens.quantizer(step=0.1).decode(codes), length=40)
        isn.pretrained.description.describe(tokens)
    learning = isn.SincNet(specs[0], learnable_filters=True, learnable_decoder=True)
    variables = learning.init(jax.random.key(0), waveform)
    jax.grad(lambda v: jnp.sum(learning.apply(v, waveform)))(variables)
    rows = isn.bank.long_signals.encode_blocks(codec, [np.zeros((500, 2), np.float32)])
    list(isn.bank.long_signals.decode_blocks(codec, rows, length=500))

    # Data, training and evaluation.
    from isincnet_jax.data import corpora, pipeline
    from isincnet_jax.benchmark import clips as evaluation
    from isincnet_jax.training import augmentation, losses, optimizers, parallel, penalties
    from isincnet_jax.training import state as states
    from isincnet_jax.training import step as steps

    found = corpora.build_corpora("generated", sample_rate=8000, loudness_db=None)
    plan = pipeline.BatchPlan(batch_size=jax.device_count(), crop_samples=4000)
    batch = next(pipeline.numpy_batches(found["train"], plan))
    spec = specs[0]
    optimizer = optimizers.make_optimizer(optimizers.OptimizerSpec(total_steps=10))
    step = steps.make_step(
        lambda variables, waveform, key: learning.apply(variables, waveform),
        loss=losses.weighted_loss(dict.fromkeys(losses.LOSSES, 1.0)),
        optimizer=optimizer,
        augmentation=augmentation.AugmentationSpec(
            reversal=0.5, polarity=0.5, impulse_response=0.5, gain=0.5, noise=0.5, requantize=0.5
        ),
        sample_rate=8000,
        penalties={
            "condition": penalties.condition_penalty(
                lambda variables: learning.apply(variables, method="filters"),
                hop_length=8,
                weight=1e-3,
            )
        },
    )
    state = states.create_state(variables, optimizer, key=jax.random.key(0))
    placed = parallel.shard(parallel.split_batch(batch))
    state, metrics = parallel.parallel_step(step)(parallel.replicate(state), placed)
    assert np.isfinite(parallel.first_copy(metrics)["loss"])
    evaluation.evaluate_clips(lambda clips: 0.5 * clips, batch)

    # The checks are on: a wrong dtype is caught by the annotation itself.
    from isincnet_jax.dsp import companding

    try:
        companding.decode_symmetric(jnp.zeros(3), q_bits=8, mu=255.0)
    except TypeError:
        print("tour completed")
    """
)


@pytest.mark.quick(0)
def test_annotations_hold_at_run_time():
    pytest.importorskip("beartype")
    result = subprocess.run(
        [sys.executable, "-c", TOUR], capture_output=True, text=True, timeout=480, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "tour completed" in result.stdout
