r"""An ablation of filters: shapes x scales x components x numbers of bins.

    python experiments/ablate_filters.py --config=experiments/configs/ablation.py \
        --config.data=DIR --config.axes.shape=sinc,gauss --config.parts=reconstruction,speed

A cell of the grid is the base with other values on some axes, and is named by these alone. An axis
without values stays at the base's. Three parts are measured of every cell, any of which can be left
out (and measured by a later command in the same folder):

- reconstruction: frame bounds of the bank, signal-to-noise ratio of its exact decoder, with a few
  bits per coefficient, and with white noise on the coefficients;
- speed: x real time of encoding and of decoding;
- classification: the filters as the front end of a small classifier of genres, and of one of
  speakers, learned and as they begin, trained with every seed: accuracy by track, and how far the
  filters moved. Other front ends stand beside them: mel filters, LEAF, EfficientLEAF, free filters.

With --config.data=DIR[,DIR...] clips and tracks of genres come from these folders, with
--config.classifiers.speaker.data.path=DIR those of speakers, a folder each; without, from the
built-in clip and from generated music. All shapes, GTZAN's two small parts and RAVDESS' speech:

    python experiments/ablate_filters.py --config.parts=reconstruction,classification \
        --config.data=gtzan_mini,gtzan_excerpts \
        --config.data.splits=experiments/splits/gtzan_small \
        --config.classifiers.speaker.data.path=speakers_16khz \
        --config.classifiers.speaker.data.splits=experiments/splits/speakers \
        --config.axes.shape=none,sinc,gauss,triangle,trapezoid,raised_cosine,butterworth,\
    gammatone,gammatone2,pfnet

What they measured stands in docs/measured/filters.md: 132 classifiers that learn their filters, in
an hour and three quarters on two cores that others used as well, a task on each;
--config.filters=learned first, fixed ones after it, LEAF last (not run). 64 mel bins cannot be
inverted at this hop, whatever their shape: 88 (gammatone) to 93 (sinc) can.
"""

from __future__ import annotations

from typing import Any

import ml_collections

from configs import classifier_genre, classifier_speaker


def get_config() -> ml_collections.ConfigDict:
    """The default: six shapes on two scales."""
    config = ml_collections.ConfigDict()
    config.workdir = "runs/ablation"
    config.parts = ("reconstruction", "speed")  # and classification, which takes hours
    config.seeds = (0, 1, 2)  # of the classifiers
    config.tasks = ("genre", "speaker")  # that they are trained for
    config.filters = ("learned", "fixed")
    config.front_ends = ("mel", "leaf", "efficient_leaf", "free")  # beside the grid
    config.retry_failed = False  # measure again what failed before

    config.axes = ml_collections.ConfigDict()
    config.axes.shape = ("sinc", "gauss", "triangle", "trapezoid", "raised_cosine", "gammatone")
    config.axes.scale = ("linear", "mel_slaney")
    config.axes.component = ("complex",)
    config.axes.num_bins = (128,)

    config.base = ml_collections.ConfigDict()  # fields of FilterbankSpec
    config.base.shape = "sinc"
    config.base.scale = "linear"
    config.base.component = "complex"
    config.base.num_bins = 128
    config.base.sample_rate = 16_000  # of the classifiers too
    config.base.hop_length = 64  # with 125, 128 bins on a mel scale cannot be inverted
    config.base.kernel_size = 501
    config.base.window = "hann"
    config.base.normalization = "l1"
    config.base.causal = False  # real filters that are not causal are even: never invertible

    config.data = ml_collections.ConfigDict()
    config.data.path = ()  # folders; the built-in clip and generated music if empty
    config.data.splits = ""  # folder with train.txt, validation.txt, test.txt; by hash if empty
    config.data.cache_dir = ""  # decoded tracks are kept here, if given

    config.reconstruction = ml_collections.ConfigDict()
    config.reconstruction.max_clips = 8  # taken evenly from the folders
    config.reconstruction.duration_s = 2.0  # from the start of each
    config.reconstruction.loudness_db = -23.0  # LUFS
    config.reconstruction.q_bits = 8
    config.reconstruction.noise_snr_db = 20.0  # of coefficients to white noise
    config.reconstruction.seed = 0  # of the noise

    config.speed = ml_collections.ConfigDict()
    config.speed.batch_size = 4
    config.speed.duration_s = 10.0
    config.speed.repeats = 7  # the fastest counts

    # The base of the classifiers. A cell sets shape, component, initial_scale (its scale),
    # num_filters (its num_bins, if they are an axis), the seed and the folder.
    config.classifiers = ml_collections.ConfigDict()
    config.classifiers.genre = _genre()
    config.classifiers.speaker = _speaker()
    return config.lock()


def _genre() -> ml_collections.ConfigDict:
    config = _classifier(classifier_genre)
    config.model.max_masked_frames = 10
    config.model.dropout = 0.5
    return config


def _speaker() -> ml_collections.ConfigDict:
    config = _classifier(classifier_speaker)
    config.data.chunk_s = 1.0
    config.model.max_masked_frames = config.model.max_masked_bins = 0
    config.optimizer.learning_rate = 6e-3
    config.optimizer.label_smoothing = 0.0
    config.train.num_steps = config.train.evaluate_every = config.train.save_every = 750
    return config


def _classifier(kind: Any) -> ml_collections.ConfigDict:
    """A classifier that a core trains in a minute or two."""
    config = kind.get_config("sincnet").unlock()
    config.data.path = ()  # of genres: those of config.data
    config.data.batch_size = 16
    config.model.num_filters = 40
    config.model.kernel_size = 257
    config.model.hop_length = 320
    config.data.mixup = 0.0
    config.train.num_steps = config.train.evaluate_every = config.train.save_every = 600
    return config
