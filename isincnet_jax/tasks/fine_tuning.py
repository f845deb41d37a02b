"""Fine-tuning of vocoders: the config of a run that begins where a stored model ended."""

from __future__ import annotations

import re
from typing import Any

from isincnet_jax.pretrained import model_kinds
from isincnet_jax.pretrained.trained import vocoder_module
from isincnet_jax.tasks import command
from isincnet_jax.tasks.config import Config
from isincnet_jax.tasks.vocoder_networks import KINDS
from isincnet_jax.vocoders.vocoder import NETWORKS, Vocoder

NUM_STEPS, EVALUATE_EVERY = 1000, 200
"""Steps of a run, and from evaluation to evaluation, unless others are given: minutes."""

# Kinds of configs/vocoder.py whose other settings, batch and rate, are those of a network.
_CONFIG_KINDS = {"magnitude": "magnitude_mel"}


def vocoder_config(model: str) -> tuple[str, dict[str, Any]]:
    """The config of a training that begins with a stored vocoder's weights.

    Args:
        model: name, path or address, see :func:`isincnet_jax.from_pretrained`.

    Returns:
        The kind of ``configs/vocoder.py``, and values by the names of fields: what the model is
        made of and takes, "init_from", "workdir", and "train.num_steps", "train.evaluate_every"
        and "train.save_every". The learning rate is the kind's own: a tenth of it was no better.

    Raises:
        ValueError: if there is no such vocoder, or it has a setting that is no field of a config.
    """
    module = vocoder_module(model)
    network = next(name for name, known in NETWORKS.items() if type(module.network) is known)
    kind = _CONFIG_KINDS.get(network, network)
    path = f"--config={command.configs_folder() / 'vocoder.py'}:{kind}"
    config = command.read_config([path])
    fields = _model_fields(module, network, config)
    with config.unlocked():
        config.update_from_flattened_dict(fields)
    _check_same(model, module, network, config)
    begin = {
        "init_from": model,
        "workdir": f"runs/fine-tuned-{_short(model)}",
        "train.num_steps": NUM_STEPS,
        "train.evaluate_every": EVALUATE_EVERY,
        "train.save_every": EVALUATE_EVERY,
    }
    return kind, {**fields, **begin}


def _model_fields(module: Vocoder, network: str, config: Config) -> dict[str, Any]:
    # Behind a bank, which has no window, the network's is that of the config.
    window = {"win_length": getattr(module.network, "win_length", None)}
    facts = {**window, **module.features.facts()}
    names = ("n_fft", "win_length", "hop_length", "n_mels", "fmin", "fmax")
    fields = {f"model.{name}": facts[name] for name in names if facts.get(name) is not None}
    bank = module.features.bank
    if bank is not None:
        fields |= {"model.bank_bins": bank.num_bins, "model.bank_scale": bank.scale}
    learned = {name: getattr(module.network, name) for name in config.model[network]}
    return {
        "data.sample_rate": facts["sample_rate"],
        "model.kind": network,
        "model.input": facts["kind"],
        "model.fit": module.fit,
        **fields,
        **{f"model.{network}.{name}": value for name, value in learned.items()},
    }


def _check_same(model: str, module: Vocoder, network: str, config: Config) -> None:
    """Refuses a model that the config does not make again, with what differs."""
    parts, kind = KINDS[network](config), model_kinds.kind_of(module)
    made = kind.plain_fields(Vocoder(parts.network, parts.features, parts.input_scale))
    wanted = kind.plain_fields(module)
    for part in ("network", "features"):
        for name, value in wanted[part].items():
            # The devices' axis belongs to training alone.
            if name != "axis_name" and made[part].get(name) != value:
                raise ValueError(
                    f"{model}: its {part} has {name}={value!r}, which no field of "
                    f"configs/vocoder.py says; train it by a script of your own"
                )


def _short(model: str) -> str:
    """The last part of a name, path or address that says something."""
    parts = [part for part in re.split(r"[/\\]", model.partition("#")[0]) if part]
    names = [part.removesuffix(".zip") for part in parts if part not in ("export", ".", "..")]
    return names[-1] if names else "model"
