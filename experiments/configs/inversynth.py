r"""InverSynth: from a sound to the settings of the synthesizer that made it.

    python experiments/train_inversynth.py --config=experiments/configs/inversynth.py:C6XL \
        [--config.field=value ...]

The argument is the network: C1, C2, C3, C4, C5, C6, C6XL, CE2E, CE2E_2D, or mixer (ours, and
the default). Sounds are made on the device unless ``--config.data.source=disk``. The paper's recipe
is ``--config.loss.kind=sigmoid --config.data.batch_size=16 --config.optimizer.schedule=constant
--config.optimizer.warmup_steps=0 --config.optimizer.weight_decay=0
--config.optimizer.clip_norm=1e9 --config.train.epochs=100``, but that no run stops early: the
checkpoint of the best validation MPR is exported.

The shipped model, 16khz-inversynth:

- command: python experiments/train_inversynth.py --config=experiments/configs/inversynth.py:mixer
  --config.train.num_steps=10000 --config.train.evaluate_every=1000 --config.train.save_every=500
- device, duration: one core of an Intel(R) Xeon(R) Processor, 78 min beside other work. Begun with
  16,000 steps in view and changed to 10,000 at step 5,497, which shortened the cosine.
- validation sounds, MPR after 1,000 to 10,000 steps: 69.3, 72.0, 73.8, 75.0, 75.6, 77.0, 77.9,
  78.4, 78.6, 78.7.
- 5,000 test sounds: MPR 78.7, top-1 35.5 %, class MAE 2.73; 5,000 others: 78.8, 35.4 %, 2.72.
- correlation of log STFT, mean and median: 94.2 %, 98.4 %; of random patches 25.9 %, 18.5 %.

How the recipe was chosen, on two cores that others used as well: softmax, 32,000 new sounds, rate
1e-3 with a cosine, batches of 64, 2,000 held-out sounds. MPR, and processor time of forward and
backward (rendering takes 0.43 ms and the STFT 0.14 ms a sound more):

- mixer with GELU 66.6, 4.8 ms; with ReLU 65.8 (rate 2e-3) and 65.7 (batches of 32), 4.6 ms;
- C3 62.2, 1.85 ms; C6 takes 5.8 ms and C6XL 11.7 ms, their scores were not measured;
- two convolutions before a mixer, 1-D convolutions over frames, and a mixer with whitened inputs
  had higher training losses after 16,000 sounds (2.54, 2.54, 2.58; the mixer 2.49): stopped.

By sounds the mixer leads. By processor time this is open: C3 at a rate of 2e-3 had a lower
training loss after 60,000 sounds (2.363 in 145 s with rendering) than the mixer after 32,000 (2.406
in 173 s), but was not trained to the end. One seed each, and sounds of a provisional synthesizer.
"""

from __future__ import annotations

import ml_collections

NETWORKS = ("C1", "C2", "C3", "C4", "C5", "C6", "C6XL", "CE2E", "CE2E_2D", "mixer")


def get_config(network: str = "mixer") -> ml_collections.ConfigDict:
    """The config of a network."""
    if network not in NETWORKS:
        raise ValueError(f"inversynth:{network} is unknown; use {', '.join(NETWORKS)}")
    config = ml_collections.ConfigDict()
    config.output_dir = "runs"
    config.run_name = f"inversynth-{network}"
    config.workdir = ""  # output_dir/run_name if empty
    config.resume = True  # go on with a run that is there; False: refuse
    config.seed = 0
    config.init_from = ""  # folder of another run, or of an exported model: start from its weights

    config.data = ml_collections.ConfigDict()
    config.data.source = (
        "stream"  # sounds from keys, on the device; disk: `isincnet synth generate`
    )
    config.data.path = "test_datasets"  # of disk: its dataset directory
    config.data.waves = "test_waves"  # of disk: its wave file directory
    config.data.name = "InverSynth"  # of disk: the dataset's
    config.data.held_out = 0.1  # of disk: validation and test each, the last clips by index
    config.data.batch_size = 64  # over all devices and hosts
    config.data.clips_per_epoch = 200_000  # of stream, as many as the paper has

    config.model = ml_collections.ConfigDict()
    config.model.network = network
    config.model.bank = False  # a sinc bank as front end
    config.model.bank_bins = 256
    config.model.bank_hop = 256
    config.model.bank_scale = "linear"  # its centres: linear, mel_slaney, mel_htk, erb, ...
    config.model.learnable_filters = False

    config.loss = ml_collections.ConfigDict()
    config.loss.kind = "softmax"  # one for each parameter; sigmoid: binary cross-entropy of all
    config.loss.smoothing = 0.0  # what the neighbours of the true level get

    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.learning_rate = 1e-3
    config.optimizer.weight_decay = 1e-8
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 200
    config.optimizer.final_fraction = 0.01
    config.optimizer.step_every = 10_000
    config.optimizer.step_factor = 0.5
    config.optimizer.clip_norm = 5.0
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.accumulate = 1  # only 1

    config.train = ml_collections.ConfigDict()
    config.train.epochs = 10
    config.train.num_steps = 0  # instead of epochs, if not 0
    config.train.log_every = 100
    config.train.evaluate_every = 2_000
    config.train.save_every = 2_000
    config.train.max_skipped = 20
    config.train.keep_last = 2
    config.train.keep_best = 1  # by the mean percentile rank of the evaluation

    config.evaluation = ml_collections.ConfigDict()
    config.evaluation.validation_clips = 1_000
    config.evaluation.test_clips = 5_000
    config.evaluation.batch_size = 50

    config.hosts = ml_collections.ConfigDict()
    config.hosts.coordinator = ""  # "address:port" of host 0, or "auto" on known clusters
    config.hosts.count = 1
    config.hosts.index = 0
    return config.lock()  # no new fields: a misspelt one is an error
