"""What the benchmark of spectrogram layers compares: ours, and peers that may be installed."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import importlib.util
import io
from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.signal
from paired import Operation
from program import Program
from torch_peers import torch_device

import isincnet_jax as isn

Builder = Callable[[], Operation]

BATCH, RATE, DURATION_S = 16, 22_050, 10
LENGTH = RATE * DURATION_S
HOP, N_FFT = 512, 2048
FMIN = 32.703
CQT = {"sample_rate": RATE, "hop_length": HOP, "fmin": FMIN, "n_bins": 84, "bins_per_octave": 12}
THEIR_CQT = {"sr": RATE, "hop_length": HOP, "fmin": FMIN, "n_bins": 84, "bins_per_octave": 12}
# Exact inversion needs a hop that the broadest band allows: None is the longest one.
INVERTIBLE = {**CQT, "hop_length": None, "layout": "ragged"}
VQT_GAMMA = 10.0
CQT_LAYERS = ("CQT1992v2", "CQT1992", "CQT2010v2", "CQT2010")


class Row(NamedTuple):
    """One comparison: how to build ours and each peer, all of them only when asked.

    Attributes:
        ours: builds our operation.
        peers: build the peers' by name.
        audio_s: seconds of audio that one call of either processes.
    """

    ours: Builder
    peers: dict[str, Builder]
    audio_s: float = BATCH * DURATION_S


def layer(name: str, **options: Any) -> Any:
    """A layer of ours by its public name."""
    return getattr(isn, name)(**options)


def run_ours(model: Any, *inputs: Any, method: str | None = None, **keywords: Any) -> Program:
    """The jitted layer with its variables as inputs, as a user would call it."""
    variables = model.init(jax.random.key(0), *inputs, method=method, **keywords)
    return Program(
        lambda v, *args: model.apply(v, *args, method=method, **keywords), variables, *inputs
    )


def train_ours(model: Any, waveform: jax.Array) -> Program:
    """Loss and gradient with respect to all parameters; there must be some."""
    variables = model.init(jax.random.key(0), waveform[:1])
    if not jax.tree.leaves(variables.get("params", {})):
        raise ValueError(f"{type(model).__name__} has nothing to train")

    def step(params: Any, x: jax.Array) -> Any:
        def loss(params: Any) -> jax.Array:
            return jnp.mean(jnp.abs(model.apply({**variables, "params": params}, x)) ** 2)

        return jax.value_and_grad(loss)(params)

    return Program(step, variables["params"], waveform)


class Peers:
    """Builders of the peers' operations; importing happens when one is built.

    Attributes:
        slow: whether to build what takes minutes to build.
    """

    slow = False

    def __init__(self, clips: np.ndarray) -> None:
        self.clips = clips
        self.pool = ThreadPool(2)
        atexit.register(self.pool.terminate)

    @property
    def torch(self) -> Any:
        """PyTorch."""
        import torch

        return torch

    @property
    def nnaudio(self) -> Any:
        """nnAudio's layers."""
        # nnAudio 0.3.3 asks scipy for a window where scipy < 1.13 had it; the rows would be lost.
        if not hasattr(scipy.signal, "blackmanharris"):
            scipy.signal.blackmanharris = scipy.signal.windows.blackmanharris
        return importlib.import_module("nnAudio.features")

    def tensor(self, array: Any) -> Any:
        """A PyTorch copy of an array, on the processor."""
        return self.torch.from_numpy(np.array(array))

    def placed(self, array: Any) -> Any:
        """A PyTorch copy of an array, on the device that JAX uses."""
        return self.tensor(array).to(torch_device())

    def finished(self, run: Operation) -> Operation:
        """The operation without gradients, complete when it returns."""
        on_gpu = torch_device() == "cuda"

        def operation() -> Any:
            with self.torch.no_grad():
                result = run()
            if on_gpu:
                self.torch.cuda.synchronize()
            return result

        return operation

    def refuse_slow(self, name: str) -> None:
        """Raises for the layer of nnAudio whose design takes minutes, unless it was asked for."""
        if name == "CQT1992" and not self.slow:
            raise TimeoutError("takes minutes to construct; give --slow-peers")

    def quiet(self, make: Callable[[], Any]) -> Any:
        """A layer of nnAudio, without what it prints."""
        with contextlib.redirect_stdout(io.StringIO()):
            return make()

    def module(self, name: str, *, inputs: Any = None, call: Any = None, **options: Any) -> Builder:
        """nnAudio's layer of that name over the batch, without gradients."""

        def build() -> Operation:
            self.refuse_slow(name)
            model = self.quiet(lambda: getattr(self.nnaudio, name)(**options))
            model = model.to(torch_device())
            values = self.placed(self.clips if inputs is None else inputs())
            return self.finished(lambda: model(values, **(call or {})))

        return build

    def train(self, name: str, **options: Any) -> Builder:
        """Loss and gradient with respect to nnAudio's trainable parameters."""

        def build() -> Operation:
            model = self.quiet(lambda: getattr(self.nnaudio, name)(**options))
            model = model.to(torch_device())
            if not any(p.requires_grad for p in model.parameters()):
                raise ValueError(f"nnAudio's {name} has nothing to train")
            values = self.placed(self.clips)

            def operation() -> Any:
                model.zero_grad(set_to_none=True)
                loss = (model(values) ** 2).mean()
                loss.backward()
                return loss.item()  # waits for an accelerator

            return operation

        return build

    def librosa(self, function: Callable[[Any, np.ndarray], Any], inputs: Any = None) -> dict:
        """Both ways of calling librosa: the batch at once, and two threads over the clips."""

        def values() -> Any:
            return self.clips if inputs is None else inputs()

        def at_once() -> Operation:
            import librosa

            batch = values()
            return lambda: function(librosa, batch)

        def threads() -> Operation:
            import librosa

            batch = list(values())
            return lambda: self.pool.map(lambda clip: function(librosa, clip), batch)

        return {"librosa": at_once, "librosa, 2 threads": threads}

    def librosax(self, function: Callable[[Any, Any], Any]) -> Builder:
        """librosax over the batch, jitted."""

        def build() -> Operation:
            module = importlib.import_module("librosax")
            run = jax.jit(lambda x: function(module, x))
            values = jnp.asarray(self.clips)
            return lambda: jax.block_until_ready(run(values))

        return build


def attempt(make: Callable[[], Any], what: str, missing: list[str]) -> Any:
    """The made thing, or None, with one line on why, where a peer or layer is not usable."""
    try:
        return make()
    except Exception as error:
        text = " ".join(str(error).split())[:160]
        missing.append(f"{what}: {type(error).__name__}: {text}")
        print(f"  MISSING {missing[-1]}", flush=True)
        return None
