"""Every field of an experiment, with its default; other configs state only their difference."""

from __future__ import annotations

import ml_collections
from ml_collections import config_dict


def get_config() -> ml_collections.ConfigDict:
    """The config of a decoder that is learned from random weights."""
    config = ml_collections.ConfigDict()
    config.workdir = "runs/default"
    config.seed = 0
    config.init_from = ""  # folder of another run, or of an exported model: start from its weights

    config.data = ml_collections.ConfigDict()
    config.data.source = "gtzan"  # gtzan, musdb18, folder, prepared, generated
    config.data.path = "data"
    config.data.loader = "numpy"  # numpy, grain, tf (tf.data), device (the corpus lives there)
    config.data.sample_rate = 16_000
    config.data.loudness_db = -23.0  # LUFS
    config.data.splits = ""  # folder with train.txt and validation.txt; by hash if empty
    config.data.stems = ("mixture",)  # of musdb18
    config.data.cache_dir = ""  # decoded tracks are kept here, if given
    config.data.crop_s = 1.0
    config.data.pad_short = False  # tracks shorter than a crop are followed by silence
    config.data.batch_size = 8  # over all devices and hosts

    config.model = ml_collections.ConfigDict()
    config.model.kind = "sincnet"  # sincnet, token_codec, refined_decoder
    config.model.hop_length = 125
    config.model.num_bins = 128
    config.model.scale = "linear"
    config.model.shape = "none"
    config.model.component = "complex"
    config.model.causal = False
    config.model.num_frames = 3  # frame taps of the decoder
    config.model.decoder = "random"  # random, exact (starts as the inverse), fixed (is the inverse)
    config.model.learnable_filters = False
    config.model.window_terms = 0
    config.model.q_bits = 0  # train the decoder behind the noise of such codes; 0 for none
    config.model.observation = "coefficients"  # or magnitudes, of a refined_decoder
    config.model.refiner = ml_collections.ConfigDict()
    config.model.refiner.num_blocks = 2  # ConvNeXt blocks
    config.model.refiner.width = 192
    config.model.refiner.iterations_before = 2  # of the least squares before the refiner
    config.model.refiner.iterations_after = 8
    config.model.bfloat16 = False  # products of the decoder; filters stay float32

    config.loss = ml_collections.ConfigDict()
    config.loss.l1 = 1.0
    config.loss.l2 = 1.0
    config.loss.log_stft = 1.0
    config.loss.multi_stft = config_dict.placeholder(float)
    config.loss.spectral_convergence = config_dict.placeholder(float)
    config.loss.negative_snr_db = config_dict.placeholder(float)
    config.loss.energy = 0.0  # 0: only logged

    config.penalty = ml_collections.ConfigDict()
    config.penalty.condition = 0.0  # weight of log(condition number) of learned filters
    config.penalty.condition_target = 4.0

    config.augmentation = ml_collections.ConfigDict()
    config.augmentation.reversal = 0.5
    config.augmentation.polarity = 0.5
    config.augmentation.silent_items = 1
    config.augmentation.impulse_response = 0.0
    config.augmentation.gain = 0.0
    config.augmentation.noise = 0.0
    config.augmentation.requantize = 0.0

    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.learning_rate = 1e-2
    config.optimizer.filter_learning_rate = 1e-4
    config.optimizer.weight_decay = 0.0
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 100
    config.optimizer.final_fraction = 0.0
    config.optimizer.step_every = 1000
    config.optimizer.step_factor = 0.5
    config.optimizer.clip_norm = 2.0
    config.optimizer.accumulate = 1  # parts that a device's batch is processed in

    config.train = ml_collections.ConfigDict()
    config.train.num_steps = 20_000
    config.train.log_every = 100
    config.train.evaluate_every = 2_000
    config.train.save_every = 2_000
    config.train.max_skipped = 20
    config.train.keep_last = 2
    config.train.keep_best = 1

    config.evaluation = ml_collections.ConfigDict()
    config.evaluation.duration_s = 5.0
    config.evaluation.max_clips = 100

    config.hosts = ml_collections.ConfigDict()
    config.hosts.coordinator = ""  # "address:port" of host 0, or "auto" on known clusters
    config.hosts.count = 1
    config.hosts.index = 0
    return config.lock()  # no new fields: a misspelt one is an error
