"""Decoders of tokens of 2 to 8 bits: a refiner between two precision-weighted least squares.

python experiments/train.py --config=experiments/configs/tokens.py:4 --config.data.path=DIR

Measured (20 validation clips of gtzan_mini, first 5 s; seed 0; trained on the
50 others, --config.data.splits=experiments/splits/gtzan_mini), SNR in dB
(worst clip), beside the exact linear decoder of the same codes:

    bits     2             4             6             8
    learned  7.9 (6.8)     22.3 (21.4)   35.1 (34.2)   47.5 (46.7)
    exact    -4.2 (-5.5)   18.4 (18.1)   31.5 (31.1)   43.8 (43.4)
"""

from __future__ import annotations

import ml_collections

from configs import default


def get_config(bits: str = "4") -> ml_collections.ConfigDict:
    """What differs from the default, for so many bits."""
    config = default.get_config()
    config.workdir = f"runs/tokens-{bits}bit"
    config.model.kind = "token_codec"
    config.model.q_bits = int(bits)
    config.model.num_frames = 8
    config.data.crop_s = 2.0  # the scales are peaks: shorter crops are easier than whole clips
    config.data.batch_size = 4
    config.loss = ml_collections.ConfigDict({"negative_snr_db": 1.0, "log_stft": 0.0})
    config.augmentation.silent_items = 0
    config.optimizer.weight_decay = 1e-5
    config.optimizer.warmup_steps = 30
    config.optimizer.final_fraction = 0.02
    config.optimizer.clip_norm = 1.0
    config.train.num_steps = 600
    config.train.log_every = 50
    config.train.evaluate_every = 200
    config.train.save_every = 200
    return config
