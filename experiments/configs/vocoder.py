r"""Vocoders: spectrogram to waveform.

    python experiments/train_vocoder.py --config=experiments/configs/vocoder.py:convnext \
        --config.data=LJSPEECH_DIR [--config.field=value ...]

The argument is the network and what it sees: cnn (CNNVocoder as published, the default), cnn_mel,
convnext (magnitudes to a spectrum), convnext_phase (the phases of given magnitudes), convnext_mel,
convnext_bank (magnitudes of a sinc bank), istftnet, istftnet_mel, magnitude_mel (magnitudes; phases
are computed) or phase_gradient (differences of phase and how sure they are; fewer than 10,000
parameters). Mel spectrograms are
Slaney's unless ``--config.model.input=mel_htk``.

The shipped models, seed 0, each trained on one core of an Intel(R) Xeon(R) Processor beside other
work; scores on whole held-out clips (multi-resolution STFT loss, spectral convergence):

- 22khz-speech-vocoder: :phase_gradient --config.data=DIR, 209 clips of speech (57 of LJSpeech's
  chapter 50, 32 others, 60 each of two other speakers), --config.train.num_steps=20000, 11 min;
  then sweeps=4, chosen on the validation clips: 0.255, -28.8 dB there.
- 22khz-speech-vocoder-mel: :magnitude_mel with the same data, --config.model.phases=22khz-speech-
  vocoder and --config.train.num_steps=6000; step 3000 was the best, after 25 min. Then iterations=4
  and fit=10, chosen on the validation clips: 0.852, -13.0 dB there; test 0.848, -13.3 dB.
- 22khz-music-vocoder: :phase_gradient, 180 clips: 50 of GTZAN (tracks 0 to 4), 60 other pieces, 70
  of speech, --config.train.num_steps=16000, 11 min. First 5 s of GTZAN's tracks 5: 0.282, -25.3 dB;
  of tracks 6, on which nothing was chosen: 0.296, -24.7 dB.
"""

from __future__ import annotations

import ml_collections
from ml_collections import config_dict

KINDS = {
    "cnn": ("cnn", "linear"),
    "cnn_mel": ("cnn", "mel_slaney"),
    "convnext": ("convnext", "linear"),
    "convnext_phase": ("convnext", "linear"),
    "convnext_mel": ("convnext", "mel_slaney"),
    "convnext_bank": ("convnext", "bank"),
    "istftnet": ("istftnet", "linear"),
    "istftnet_mel": ("istftnet", "mel_slaney"),
    "magnitude_mel": ("magnitude", "mel_slaney"),
    "phase_gradient": ("phase_gradient", "linear"),
}
_CROP_FRAMES = 81  # as published: 20,736 samples


def get_config(kind: str = "cnn") -> ml_collections.ConfigDict:
    """The config of a kind of vocoder."""
    if kind not in KINDS:
        raise ValueError(f"vocoder:{kind} is unknown; use {', '.join(KINDS)}")
    network, shown = KINDS[kind]
    config = ml_collections.ConfigDict()
    config.workdir = f"runs/vocoder-{kind}"
    config.seed = 0
    config.init_from = ""  # start from the weights of another run's folder, or of a model by name,
    # path or address; `isincnet vocoder train --model` sets all that has to fit as well

    config.data = ml_collections.ConfigDict()
    config.data.source = "folder"  # any folder of audio, LJSpeech's too; gtzan, musdb18, prepared,
    # generated
    config.data.path = "data"
    config.data.loader = "numpy"  # numpy, grain, tf (tf.data), device (the corpus lives there)
    config.data.sample_rate = 22_050
    config.data.loudness_db = config_dict.placeholder(float)  # LUFS; None leaves levels as they are
    config.data.splits = ""  # folder with train.txt, validation.txt, test.txt; by hash if empty
    config.data.stems = ("mixture",)  # of musdb18
    config.data.truncated = "refuse"  # of a damaged file in a folder: refuse, or keep what is left
    config.data.cache_dir = ""  # decoded files are kept here, if given; else in memory
    config.data.crop_s = _CROP_FRAMES * 256 / 22_050  # drawn anew for every batch
    config.data.pad_short = True  # files shorter than a crop are followed by silence
    config.data.batch_size = 40  # over all devices and hosts

    config.model = ml_collections.ConfigDict()
    config.model.kind = network  # cnn, convnext, istftnet
    config.model.input = shown  # linear, mel_slaney, mel_htk, bank
    config.model.n_fft = 2048  # of the STFT of the input
    config.model.win_length = 1024
    config.model.hop_length = 256  # of the STFT or the bank
    config.model.n_mels = 80
    config.model.fmin = 0.0  # Hz
    config.model.fmax = 0.0  # Hz; 0 for half the sample rate
    config.model.phases = ""  # phase-gradient vocoder: name, path; magnitudes get its phases
    config.model.fit = 0  # iterations towards the given features behind the network
    config.model.bank_bins = 256  # complex sinc bank of the input
    config.model.bank_scale = "linear"  # its centres: linear, mel_slaney, mel_htk, erb, ...

    config.model.cnn = ml_collections.ConfigDict()  # attributes of CNNVocoder
    config.model.cnn.image_widths = (1,) * 10 + (2,) * 5
    config.model.cnn.widths = (1024, 512, 256, 128, 64, 32, 16, 8)  # one for each doubling
    config.model.cnn.stage_blocks = 0
    config.model.cnn.post_blocks = 12
    config.model.cnn.num_heads = 1

    config.model.convnext = ml_collections.ConfigDict()  # attributes of ConvNeXtVocoder
    config.model.convnext.width = 256
    config.model.convnext.num_blocks = 8
    config.model.convnext.expansion = 3
    config.model.convnext.taps = 7
    config.model.convnext.enter_taps = 7 if shown.startswith("mel") else 1
    config.model.convnext.predict = "phase" if kind == "convnext_phase" else "spectrum"
    # Of the inverse STFT, whose hop is the input's; predict = "phase" has the input's geometry.
    config.model.convnext.n_fft = 2048 if kind == "convnext_phase" else 1024

    config.model.istftnet = ml_collections.ConfigDict()  # attributes of ISTFTNet, C8C8I
    config.model.istftnet.width = 512
    config.model.istftnet.strides = (8, 8)  # their product times its hop is the input's hop
    config.model.istftnet.block_taps = (3, 7, 11)
    config.model.istftnet.block_dilations = (1, 3, 5)
    config.model.istftnet.n_fft = 16
    config.model.istftnet.hop_length = 4

    config.model.magnitude = ml_collections.ConfigDict()  # of MagnitudeVocoder
    config.model.magnitude.width = 256
    config.model.magnitude.num_blocks = 4
    config.model.magnitude.expansion = 3
    config.model.magnitude.taps = 7
    config.model.magnitude.enter_taps = 7
    config.model.magnitude.passes = 5  # that scale its magnitudes towards the mels
    config.model.magnitude.phase_widths = ()  # of a network for its phases; propagated if empty
    config.model.magnitude.phase_patch_bins = 1
    config.model.magnitude.iterations = 8  # of fast Griffin-Lim behind it

    config.model.phase_gradient = ml_collections.ConfigDict()  # of PhaseGradientVocoder
    config.model.phase_gradient.every = 2
    config.model.phase_gradient.widths = (56, 40)
    config.model.phase_gradient.patch_bins = 1
    config.model.phase_gradient.halo_bins = 4
    config.model.phase_gradient.past_frames = 3
    config.model.phase_gradient.future_frames = 2
    config.model.phase_gradient.coupling = 3.0
    config.model.phase_gradient.sweeps = 2
    config.model.phase_gradient.iterations = 0  # of fast Griffin-Lim behind it
    config.model.phase_points = 8192  # patches that it learns from in a step, loud ones first

    published = network == "cnn"
    # Weights; 0: only logged, None: left out. magnitude and phase_gradient have their own losses.
    config.loss = ml_collections.ConfigDict()
    for name in ("l1", "l2", "log_stft", "spectral_convergence", "negative_snr_db", "energy"):
        config.loss[name] = config_dict.placeholder(float)
    config.loss.multi_stft = 0.0 if published else 1.0  # multi-resolution STFT
    config.loss.log_mel = 0.0 if published else 1.0  # 80 mels, 1024 samples per frame
    config.loss.reference = 1.0 if published else 0.0  # CNNVocoder's

    config.adversary = ml_collections.ConfigDict()
    config.adversary.enabled = False  # multi-period and multi-resolution discriminators
    config.adversary.start_step = 0  # until then they rest
    config.adversary.weight = 0.1  # of the adversarial loss
    config.adversary.feature_weight = 0.2  # of the feature matching loss
    config.adversary.kind = "least_squares"  # or hinge
    config.adversary.learning_rate = 2e-4
    config.adversary.periods = (2, 3, 5, 7, 11)
    config.adversary.period_widths = (32, 128, 512, 1024, 1024)
    config.adversary.resolution_widths = (32, 32, 32, 32, 32)

    config.augmentation = ml_collections.ConfigDict()  # probabilities
    config.augmentation.polarity = 0.5
    config.augmentation.reversal = 0.0
    config.augmentation.gain = 0.0

    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.learning_rate = 1e-3
    config.optimizer.weight_decay = 1e-8  # a step: 1e-5 times the rate
    config.optimizer.schedule = "constant" if published else "cosine"
    config.optimizer.warmup_steps = 0 if published else 100
    config.optimizer.final_fraction = 0.01  # of the rate at the end of cosine
    config.optimizer.step_every = 10_000
    config.optimizer.step_factor = 0.5
    config.optimizer.clip_norm = 5.0
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.accumulate = 1  # only 1: batch statistics are those of the whole batch

    config.train = ml_collections.ConfigDict()
    config.train.num_steps = 100_000
    config.train.log_every = 100
    config.train.evaluate_every = 2_000
    config.train.save_every = 2_000
    config.train.max_skipped = 20
    config.train.keep_last = 2
    config.train.keep_best = 1  # by the multi-resolution STFT loss of the evaluation

    config.evaluation = ml_collections.ConfigDict()
    config.evaluation.max_clips = 20  # whole files, spread over the validation split
    config.evaluation.duration_s = 0.0  # no more of each file; 0 for all of it
    config.evaluation.speech = True  # PESQ and STOI at the end, where installed; False for music

    config.hosts = ml_collections.ConfigDict()
    config.hosts.coordinator = ""  # "address:port" of host 0, or "auto" on known clusters
    config.hosts.count = 1
    config.hosts.index = 0
    if network == "magnitude":  # learned in minutes, as shipped
        config.data.batch_size = 16
        config.train.num_steps = 3000
        config.train.evaluate_every = config.train.save_every = 300
    if network == "phase_gradient":  # likewise
        config.data.batch_size = 8
        config.data.crop_s = 0.8
        config.optimizer.learning_rate = 3e-3
        config.train.num_steps = 12_000
        config.train.evaluate_every = config.train.save_every = 2_000
    return config.lock()  # no new fields: a misspelt one is an error
