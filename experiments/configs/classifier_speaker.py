r"""SincNet's recipe for speakers: chunks of 200 ms, RMSprop, decision by summed log-posteriors.

    python experiments/train_classifier.py --config=experiments/configs/classifier_speaker.py \
        --config.data=LibriSpeech/train-clean-100 --config.data.cache_dir=cache

The folder has one folder of audio files for each speaker. TIMIT: --config.data.speaker_level=2.
Published errors, by utterance: 0.85 % on TIMIT (462 speakers), 0.96 % on LibriSpeech. The filters
are learned on the mel scale with a rate of their own; the published parameters, which hardly move,
are --config.model.parametrization=hz --config.optimizer.filter_learning_rate=1e-3.

The argument is a kind of classifier_genre.py; sincnet_classifier if left out.
"""

from __future__ import annotations

import ml_collections

from configs import classifier_genre


def get_config(kind: str = "sincnet_classifier") -> ml_collections.ConfigDict:
    """What differs from the genres."""
    config = classifier_genre.get_config(kind).unlock()
    config.workdir = f"runs/classifier-speaker-{kind}"
    config.data.source = "speakers"
    config.data.loudness_db = None
    if kind == "sincnet_classifier":
        config.data.chunk_s = 0.2
        config.data.batch_size = 128
        config.data.mixup = 0.0
        config.model.num_filters = 80
        config.model.kernel_size = 251
        config.optimizer.kind = "rmsprop"
        config.optimizer.learning_rate = 1e-3
        config.optimizer.filter_learning_rate = 1e-3
        config.optimizer.weight_decay = 0.0
        config.optimizer.schedule = "constant"
        config.optimizer.warmup_steps = 0
        config.optimizer.clip_norm = None
        config.optimizer.label_smoothing = 0.0
        config.train.num_steps = 288_000  # 360 epochs of 800 batches
        config.train.log_every = 100
        config.train.evaluate_every = 6_400
        config.train.save_every = 3_200
        config.evaluation.hop_s = 0.01
        config.evaluation.batch_size = 128
    return config.lock()
