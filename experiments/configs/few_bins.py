"""Decoders of banks that lose information: 64 or 128 mel bins at hop 125, or magnitudes only.

    python experiments/train.py --config=experiments/configs/few_bins.py:mel64 ...

The argument is mel64, mel128 or magnitudes (of the 128 linear complex bins, without phases).

Measured (20 validation clips of gtzan_mini, first 5 s; seed 0; trained on the 50 others,
--config.data.splits=experiments/splits/gtzan_mini), SNR in dB and log-STFT distance, beside the
best linear (Wiener) decoder from statistics of the training clips:

                 mel64            mel128           magnitudes
    learned      17.7   0.034     28.1   0.0097    -2.8   0.118
    Wiener       18.1   0.048     27.4   0.0123

What mel banks do not see, no decoder brings back: the spectrum gains, the waveform hardly. (Trained
for SNR alone, with a prototype and narrower bands, nothing was gained either.) Magnitudes at this
hop are as few as samples, and their phases were not found: Griffin-Lim gets as far.
"""

from __future__ import annotations

import ml_collections

from configs import default


def get_config(bank: str = "mel64") -> ml_collections.ConfigDict:
    """What differs from the default, for one of the banks."""
    banks = {
        "mel64": ("mel_slaney", 64),
        "mel128": ("mel_slaney", 128),
        "magnitudes": ("linear", 128),
    }
    if bank not in banks:
        raise ValueError(f"few_bins:{bank} is unknown; use few_bins.py:{', :'.join(banks)}")
    config = default.get_config()
    config.workdir = f"runs/few-bins-{bank}"
    config.model.kind = "refined_decoder"
    config.model.scale, config.model.num_bins = banks[bank]
    config.model.decoder = "wiener"
    config.model.num_frames = 12
    config.model.refiner.iterations_after = 2
    config.loss = ml_collections.ConfigDict({"multi_stft": 1.0, "log_stft": 0.0, "l1": 0.0})
    if bank == "magnitudes":
        config.model.observation = "magnitudes"
        config.model.decoder = "exact"
        config.model.refiner.iterations_after = 4
    else:
        config.loss.l1 = 10.0  # the phases are known where there are bins: keep them
    config.augmentation.silent_items = 0
    config.optimizer.learning_rate = 2e-3
    config.optimizer.clip_norm = 10.0
    config.train.num_steps = 600
    config.train.log_every = 50
    config.train.evaluate_every = 200
    config.train.save_every = 200
    return config
