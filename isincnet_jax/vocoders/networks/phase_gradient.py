"""Vocoder that predicts differences of phase, and how sure they are, and integrates them.

What a waveform's phase is no spectrogram tells: shift it by a fraction of a period and all is the
same. Differences of phase between neighbouring coefficients are what magnitudes determine, so that
is what the network predicts, and :mod:`.sweeps` makes phases of them.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Complex, Float

from isincnet_jax.dsp import checks, fourier, frame_groups
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.linen import SettledModule
from isincnet_jax.phase import beliefs as phase_beliefs
from isincnet_jax.phase import heap_integration, propagation, sweeps
from isincnet_jax.phase.beliefs import PhaseBeliefs
from isincnet_jax.typing import Array, Waveform
from isincnet_jax.vocoders.networks.network import PhaseIntegration

_QUIET = -9.0  # natural logarithm, relative to the loudest bins around in the frame
_ONLINE_LEVEL = 0.01
_HEAP_COUPLING, _HEAP_SWEEPS = 1.0, 8  # behind heap integration


class PhaseGradientVocoder(PhaseIntegration):
    """Magnitudes of an STFT to a waveform that has them.

    The analytic phase differences of a Gaussian window (Prusa et al. 2017) are corrected, and given
    certainties, by a network of fewer than 10,000 parameters that sees patches of the log
    spectrogram and two numbers for their frequency, all with the same weights. It is trained on
    the likelihood of the differences (:meth:`drawn_surprise`), without any recursion. The phases
    come from :func:`.sweeps.swept` at every ``every``-th bin, as many as the window needs, the
    waveform from an inverse STFT of the given magnitudes with them, maybe after a few iterations of
    fast Griffin-Lim. Before training it is the analytic method, all steps equally sure.

    Sweeps over frames make the whole clip its context. The output's level is that of the features;
    its sign is not determined.

    Attributes:
        num_bins: ``n_fft // 2 + 1``.
        n_fft: samples per frame of the features.
        hop_length: samples between frames.
        win_length: samples of the window, at most ``n_fft // every``; ``n_fft // every`` if None.
        window: with a gamma, see :func:`.heap_integration.window_gamma`.
        every: bins from phase to phase.
        widths: hidden features, layer by layer.
        patch_bins: phases that are predicted at once.
        halo_bins: more of those bins that are seen on either side.
        past_frames: frames before that are seen.
        future_frames: frames behind that are seen.
        coupling: see :func:`.sweeps.swept`.
        sweeps: see :func:`.sweeps.swept`.
        iterations: of fast Griffin-Lim in the geometry of the features, at the end.
        dtype: of features and products; parameters are float32.

    Raises:
        ValueError: for arguments out of range, or features of another shape.

    References:
        Z. Prusa, P. Balazs and P. Sondergaard, "A noniterative method for reconstruction of phase
            from STFT magnitude", IEEE/ACM TASLP 25, 2017.
            https://doi.org/10.1109/TASLP.2017.2678166
        S. Takamichi, Y. Saito, N. Takamune, D. Kitamura and H. Saruwatari, "Phase reconstruction
            from amplitude spectrograms based on von-Mises-distribution deep neural network",
            IWAENC 2018. https://arxiv.org/abs/1807.03474
            Departure: the differences of phase have such distributions here, and their certainty
            is learned and used.
        arXiv 2505.24498, 2025 (small networks for differences of phase, the same in all bins).
            https://arxiv.org/abs/2505.24498

    Example:
        >>> model = PhaseGradientVocoder(num_bins=65, n_fft=128, hop_length=16, widths=(8,))
        >>> magnitude = jnp.ones((1, 6, 65), jnp.float32)
        >>> jax.eval_shape(model.init_with_output, jax.random.key(0), magnitude)[0].shape
        (1, 96)
    """

    num_bins: int = 1025
    n_fft: int = 2048
    hop_length: int = 256
    win_length: int | None = None
    window: str = "hann"
    every: int = 2
    widths: tuple[int, ...] = (56, 40)
    patch_bins: int = 1
    halo_bins: int = 4
    past_frames: int = 3
    future_frames: int = 2
    coupling: float = 3.0
    sweeps: int = 2
    iterations: int = 0
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Checks the arguments."""
        checks.check_positive_integers(n_fft=self.n_fft, every=self.every, sweeps=self.sweeps)
        checks.check_positive_integers(patch_bins=self.patch_bins, hop_length=self.hop_length)
        checks.check_positive_integers(**{f"widths[{n}]": v for n, v in enumerate(self.widths)})
        counts = {
            name: getattr(self, name)
            for name in ("halo_bins", "past_frames", "future_frames", "iterations")
        }
        for name, count in counts.items():
            if not isinstance(count, int) or count < 0:
                raise ValueError(f"{name}={count} must be an integer, 0 or more")
        self._check_integration()
        if not self.coupling >= 0:
            raise ValueError(f"coupling={self.coupling} must be 0 or more, say 3")
        if self.num_bins != self.spectrum_bins:
            raise ValueError(
                f"num_bins={self.num_bins}: magnitudes of n_fft={self.n_fft} are expected; use "
                f"num_bins={self.spectrum_bins}"
            )
        if self.n_fft % (2 * self.every):
            raise ValueError(
                f"n_fft={self.n_fft}, every={self.every}: use an n_fft that is a multiple of "
                f"{2 * self.every}"
            )
        if not self.hop_length * 2 <= self.window_samples <= self.phase_samples:
            raise ValueError(
                f"win_length={self.window_samples}: use 2 hops ({2 * self.hop_length}) to n_fft / "
                f"every ({self.phase_samples}); every=1 allows more"
            )
        super().__post_init__()

    @property
    def stft(self) -> dict[str, Any]:
        """STFT that the features have to be of."""
        return self._magnitudes

    @property
    def phase_samples(self) -> int:
        """Samples per frame of the inverse STFT."""
        return self.n_fft // self.every

    @property
    def _phases(self) -> int:
        return self.phase_samples // 2 + 1

    @property
    def _num_patches(self) -> int:
        return -(-self._phases // self.patch_bins)

    @property
    def _patch_width(self) -> int:
        """Bins of a patch with its halos."""
        return (self.patch_bins + 2 * self.halo_bins) * self.every

    def beliefs(self, features: Float[Array, "batch frames bins"]) -> PhaseBeliefs:
        """Beliefs in the phase differences of neighbouring coefficients.

        Args:
            features: [batch, frames, n_fft // 2 + 1], of two frames or more.

        Returns:
            Von Mises distributions, complex [batch, frames, phase_samples // 2 + 1].
        """
        level = propagation.relative_level(self._input(features))
        return self._believed(self._padded(level), self._analytic(level))

    def _believed(self, padded: jax.Array, analytic: propagation.Steps) -> PhaseBeliefs:
        """Beliefs of frames from what their patches see and from their analytic steps."""
        seen = _audible(padded, self._patch_width)
        *batch, _, bins = seen.shape
        frames, patches = analytic.per_frame.shape[1], self._num_patches
        plan = frame_groups.GroupPlan(
            num_items=frames,
            stride=1,
            axis=-2,
            first=0,
            width=lambda number: number + self._patch_frames - 1,
            item_bytes=math.prod(batch) * patches * sum(self.widths) * 4,
        )
        nothing = jnp.zeros((*batch, 0, bins), seen.dtype)
        found = frame_groups.in_groups(
            functools.partial(_of_frames, step=self.patch_bins * self.every, patches=patches),
            plan,
            (nothing, seen, nothing),
            self._numbers(np.arange(patches)),
            *self._layers(),
        )
        found = found.reshape(*batch, frames, patches * self.patch_bins, 4)
        # eta = (a + j b) exp(i d), d the analytic difference: the network turns and stretches it.
        real_t, imag_t, real_k, imag_k = jnp.moveaxis(found[:, :, : self._phases], -1, 0)
        return PhaseBeliefs(
            lax.complex(real_t, imag_t) * propagation.directions(analytic.per_frame),
            lax.complex(real_k, imag_k) * propagation.directions(analytic.per_bin),
        )

    def drawn_surprise(
        self,
        features: Float[Array, "batch frames bins"],
        spectrum: Complex[Array, "batch frames phases"],
        key: jax.Array,
        *,
        num_points: int,
    ) -> Float[jax.Array, " batch"]:
        """Estimate of :func:`.beliefs.surprise` without bias, from a few patches of each clip.

        Patches are drawn in proportion to what they weigh in the surprise, evenly over the sum of
        their weights: what is loud is learned from, and the network runs nowhere else.

        Args:
            features: [batch, frames, n_fft // 2 + 1], of two frames or more.
            spectrum: of :func:`.fourier.stft` with ``n_fft=phase_samples``.
            key: PRNG key of the draw.
            num_points: patches of each clip.

        Returns:
            Nats relative to uniform phases, [batch].
        """
        level = propagation.relative_level(self._input(features))
        analytic = self._analytic(level)
        turns, weights = phase_beliefs.weighted_turns(spectrum)
        # What is left of the true steps behind the analytic ones, all in patches.
        turns = PhaseBeliefs(
            turns.per_frame * propagation.directions(-analytic.per_frame),
            turns.per_bin * propagation.directions(-analytic.per_bin),
        )
        weights, turns = (jax.tree.map(self._in_patches, tree) for tree in (weights, turns))
        total = jnp.sum(weights.per_frame + weights.per_bin, axis=-1)
        drawn = functools.partial(_drawn, num_points=num_points)
        keys = jax.random.split(key, total.shape[0])
        places = jax.vmap(drawn)(total.reshape(total.shape[0], -1), keys)
        frames, patches = places // self._num_patches, places % self._num_patches
        audible = _audible(self._padded(level), self._patch_width)
        seen = jax.vmap(self._seen)(audible, frames, patches)
        found = _said(seen, self._numbers(patches), *self._layers()).reshape(
            *places.shape, self.patch_bins, 4
        )

        def at(tree: Any) -> Any:
            return jax.tree.map(
                lambda part: jax.vmap(lambda one, place: one[place])(
                    part.reshape(part.shape[0], -1, self.patch_bins), places
                ),
                tree,
            )

        turns, weights = at(turns), at(weights)
        in_time = phase_beliefs.unlikelihood(found[..., 0], found[..., 1], turns.per_frame)
        in_frequency = phase_beliefs.unlikelihood(found[..., 2], found[..., 3], turns.per_bin)
        # E sum_i f_i / p_i over n draws, p the patch's share of all weights, which sum to 2.
        lost = jnp.sum(weights.per_frame * in_time + weights.per_bin * in_frequency, axis=-1)
        own = jnp.sum(weights.per_frame + weights.per_bin, axis=-1)
        return 2.0 * jnp.mean(lost / own, axis=-1)

    def spectrum(
        self,
        features: Float[Array, "batch frames bins"],
    ) -> Complex[jax.Array, "batch frames phases"]:
        """Spectrum of every ``every``-th bin with its phase, as of :func:`.fourier.stft`.

        Args:
            features: [batch, frames, n_fft // 2 + 1], of two frames or more.

        Returns:
            complex64 or complex128 [batch, frames, phase_samples // 2 + 1].
        """
        features = self._input(features)
        found = sweeps.swept(self.steps(features), coupling=self.coupling, sweeps=self.sweeps)
        return self._of_directions(features, found)

    def steps(self, features: Float[Array, "batch frames bins"]) -> PhaseBeliefs:
        """Steps that the sweeps weigh: the beliefs times the magnitudes at both ends.

        Args:
            features: [batch, frames, n_fft // 2 + 1], of two frames or more.

        Returns:
            Complex [batch, frames, phase_samples // 2 + 1], see :func:`.sweeps.weighted_steps`.
        """
        features = self._input(features)
        # Every every-th bin of an STFT of n_fft samples is the STFT of n_fft / every, if the window
        # fits into that: so many phases determine the waveform.
        level = propagation.relative_level(features)[..., :: self.every]
        return sweeps.weighted_steps(self.beliefs(features), level)

    def from_steps(
        self,
        features: Float[Array, "batch frames bins"],
        steps: PhaseBeliefs,
        start: Complex[Array, "batch frames phases"],
        *,
        length: int,
    ) -> Waveform:
        """Waveform whose sweeps begin with phases found elsewhere.

        Args:
            features: [batch, frames, n_fft // 2 + 1], of two frames or more.
            steps: of :meth:`steps`.
            start: directions of centred frames, such as those of
                :func:`.heap_integration.edge_heap_integration`.
            length: samples.

        Returns:
            [batch, length].
        """
        features = self._input(features)
        found = sweeps.swept(steps, coupling=_HEAP_COUPLING, sweeps=_HEAP_SWEEPS, start=start)
        spectrum = self._of_directions(features, found)
        return self._polished(spectrum, features, length=length).astype(self.dtype)

    @property
    def frames_behind(self) -> int:
        """Frames before a frame that its online phases are made of."""
        return max(self.past_frames, 1)  # steps begin at the frame before

    @property
    def frames_ahead(self) -> int:
        """Frames after a frame that its online phases are made of."""
        return max(self.future_frames, 1)  # central differences

    def online_spectrum(
        self,
        frames: Float[Array, "batch seen bins"],
        before: Complex[Array, "batch phases"],
    ) -> tuple[Complex[jax.Array, "batch frames phases"], Complex[jax.Array, "batch phases"]]:
        """Spectrum of frames that come piece by piece: the first forward sweep alone.

        Levels count from a constant, not from the loudest frame of the clip, which may be to come.

        Args:
            frames: [batch, frames_behind + m + frames_ahead, n_fft // 2 + 1], m frames and those
                around them.
            before: directions of the frame before the m, 0 if they are the first.

        Returns:
            The m frames as :meth:`spectrum` has them, complex [batch, m, phase_samples // 2 + 1],
            and the directions of the last.
        """
        frames = self._input(frames)
        level = propagation.relative_level(frames, reference=self._online_reference)
        behind, own = self.frames_behind, slice(self.frames_behind, -self.frames_ahead)
        around = slice(
            behind - self.past_frames, frames.shape[1] - self.frames_ahead + self.future_frames
        )
        analytic = propagation.Steps(*(part[:, own] for part in self._analytic(level)))
        beliefs = self._believed(self._mirrored(level[:, around]), analytic)
        # Of the frame before the m, only its level is needed.
        beliefs = jax.tree.map(lambda part: jnp.pad(part, ((0, 0), (1, 0), (0, 0))), beliefs)
        weighed = level[:, behind - 1 : -self.frames_ahead, :: self.every]
        steps = jax.tree.map(lambda part: part[:, 1:], sweeps.weighted_steps(beliefs, weighed))
        found = sweeps.swept_on(before, steps, coupling=self.coupling)
        return self._of_directions(frames[:, own], found), found[:, -1]

    def online(self, features: Float[Array, "batch frames bins"], *, length: int) -> Waveform:
        """Waveform of :meth:`online_spectrum` of a whole clip, which its end frames go on beyond.

        Args:
            features: [batch, frames, n_fft // 2 + 1].
            length: samples.

        Returns:
            [batch, length].
        """
        features = self._input(features)
        sides = ((0, 0), (self.frames_behind, self.frames_ahead), (0, 0))
        none = jnp.zeros((features.shape[0], self._phases), features.dtype)
        found, _ = self.online_spectrum(
            jnp.pad(features, sides, mode="edge"), lax.complex(none, none)
        )
        return self._polished(found, features, length=length).astype(self.dtype)

    @property
    def _online_reference(self) -> float:
        """Magnitude that levels count from: of a constant 40 dB below full scale.

        Speech at usual levels scores the same with 0 to -60 dB; quieter clips have room below it.
        """
        taper = fourier.stft_window(self.window, self.window_samples, self.n_fft)
        return _ONLINE_LEVEL * float(np.sum(taper))

    def _of_directions(self, features: jax.Array, found: jax.Array) -> jax.Array:
        counted = propagation.counted_from_start(found)
        return propagation.scaled(counted, features[..., :: self.every])

    @property
    def _patch_frames(self) -> int:
        return self.past_frames + 1 + self.future_frames

    def _analytic(self, level: jax.Array) -> propagation.Steps:
        return propagation.gaussian_steps(
            level,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            gamma=heap_integration.window_gamma(self.window, self.window_samples),
            every=self.every,
        )

    def _padded(self, level: jax.Array) -> jax.Array:
        """The level with what patches see beyond its ends: frames as the last, bins mirrored."""
        padded = jnp.pad(
            level, ((0, 0), (self.past_frames, self.future_frames), (0, 0)), mode="edge"
        )
        return self._mirrored(padded)

    def _mirrored(self, level: jax.Array) -> jax.Array:
        """The level with mirrored bins below 0 Hz and above the Nyquist frequency.

        A step along bins ends at its bin, so that patches lie half a step lower.
        """
        below = self.halo_bins * self.every + self.every // 2
        wanted = (self._num_patches - 1) * self.patch_bins * self.every + self._patch_width
        above = max(wanted - below - level.shape[-1], 0)
        return jnp.pad(level, ((0, 0), (0, 0), (below, above)), mode="reflect")

    def _seen(self, padded: jax.Array, frames: jax.Array, patches: jax.Array) -> jax.Array:
        """Patches of a padded clip, [patches, patch frames, width]."""
        shape = (self._patch_frames, self._patch_width)
        step = self.patch_bins * self.every
        return jax.vmap(lambda t, p: lax.dynamic_slice(padded, (t, p * step), shape))(
            frames, patches
        )

    def _in_patches(self, part: jax.Array) -> jax.Array:
        """[batch, frames, phases] to [batch, frames, patches, patch_bins], zeros beyond the end."""
        missing = self._num_patches * self.patch_bins - self._phases
        padded = jnp.pad(part, ((0, 0), (0, 0), (0, missing)))
        return padded.reshape(*part.shape[:2], self._num_patches, self.patch_bins)

    def _numbers(self, patches: Any) -> jax.Array:
        """Two numbers for the frequency of patches, [..., 2]."""
        # Near 0 Hz and the Nyquist frequency the window sees the mirror; the rest is the scale.
        place = jnp.asarray(patches, jnp.float32).astype(self.dtype)
        return jnp.stack([place / self._num_patches, 4.0 / (4.0 + place)], axis=-1)

    @nn.compact
    def _layers(self) -> tuple[jax.Array, ...]:
        """Kernel and bias of each layer, one after the other."""
        sizes = [self._patch_frames * self._patch_width + 2, *self.widths]
        plain = nn.initializers.lecun_normal()
        found = []
        for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
            found += _Layer(inputs, outputs, plain, name=f"hidden_{layer}")()
        small = nn.initializers.normal(1e-3)
        leave = _Layer(sizes[-1], 4 * self.patch_bins, small, _first_beliefs, name="leave")
        return tuple(part.astype(self.dtype) for part in [*found, *leave()])


class _Layer(SettledModule):
    """Parameters of a dense layer, float32."""

    inputs: int
    outputs: int
    kernel_init: Any
    bias_init: Any = nn.initializers.zeros

    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array]:
        """Kernel [inputs, outputs] and bias [outputs]."""
        return (
            self.param("kernel", self.kernel_init, (self.inputs, self.outputs), jnp.float32),
            self.param("bias", self.bias_init, (self.outputs,), jnp.float32),
        )


def _audible(padded: jax.Array, width: int) -> jax.Array:
    """Levels, and 9 nepers below the loudest of ``width`` bins of the frame where less is left."""
    below, above = [(0, 0)] * (padded.ndim - 1), width - 1 - width // 2
    around = jnp.pad(padded, [*below, (width // 2, above)], mode="edge")
    return jnp.maximum(padded, _running_max(around, width) + _QUIET)


def _running_max(values: jax.Array, width: int) -> jax.Array:
    """Largest of so many entries in a row of the last axis, for each place where there are."""
    size = 1
    while size < width:  # of twice as many, or of the last that are missing
        more = min(size, width - size)
        values = jnp.maximum(values[..., : values.shape[-1] - more], values[..., more:])
        size += more
    return values


def _of_frames(
    seen: jax.Array,
    number: int,
    numbers: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    *layers: jax.Array,
    step: int,
    patches: int,
) -> jax.Array:
    """What the network says of all patches of some frames, [..., frames, patches outputs].

    The first layer sees ``1 + (x - top) / 3``, top the loudest of the patch: a convolution of the
    levels x, and ``1 - top / 3`` times the sum of the kernel.
    """
    behind = seen.shape[-2] - number + 1
    width = (kernel.shape[0] - numbers.shape[-1]) // behind
    most = _running_max(seen, width)[..., : (patches - 1) * step + 1 : step]
    tops = [most[..., place : place + number, :] for place in range(behind)]
    top = functools.reduce(jnp.maximum, tops)
    size = behind * width
    hidden = lax.conv_general_dilated(
        jnp.reshape(seen, (math.prod(seen.shape[:-2]), *seen.shape[-2:], 1)),
        jnp.reshape(kernel[:size] / 3.0, (behind, width, 1, kernel.shape[-1])),
        (1, step),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )[:, :, :patches]
    hidden = jnp.reshape(hidden, (*top.shape, kernel.shape[-1]))
    total = jnp.sum(kernel[:size], axis=0)
    hidden = hidden + (1.0 - top / 3.0)[..., None] * match_rank(total, hidden)
    found = _behind_first(hidden, numbers, kernel[size:], bias, *layers)
    return jnp.reshape(found, (*found.shape[:-2], patches * found.shape[-1]))


def _said(
    seen: jax.Array, numbers: jax.Array, kernel: jax.Array, bias: jax.Array, *layers: jax.Array
) -> jax.Array:
    """What the network says of patches [..., frames, width], [..., 4 patch_bins]."""
    seen = 1.0 + (seen - jnp.max(seen, axis=(-2, -1), keepdims=True)) / 3.0
    seen = lax.collapse(seen, seen.ndim - 2)
    size = seen.shape[-1]
    hidden = jnp.matmul(seen, kernel[:size])
    return _behind_first(hidden, numbers, kernel[size:], bias, *layers)


def _behind_first(
    hidden: jax.Array, numbers: jax.Array, kernel: jax.Array, bias: jax.Array, *layers: jax.Array
) -> jax.Array:
    """The rest of the network: two more inputs of the first layer, and the layers behind it."""
    both = jnp.matmul(numbers, kernel) + match_rank(bias, numbers)
    hidden = hidden + match_rank(both, hidden)
    for weights, shift in zip(layers[::2], layers[1::2], strict=True):
        product = jnp.matmul(nn.relu(hidden), weights)
        hidden = product + match_rank(shift, product)
    return hidden


def _drawn(weights: jax.Array, key: jax.Array, *, num_points: int) -> jax.Array:
    """Indices in proportion to weights [n], evenly over their sum from one random number."""
    total = jnp.cumsum(weights)
    offset = jax.random.uniform(key, dtype=total.dtype)
    evenly = (jnp.arange(num_points, dtype=total.dtype) + offset) / num_points
    found = jnp.searchsorted(total, evenly * total[-1], side="right")
    return jnp.minimum(found, len(weights) - 1)


def _first_beliefs(key: jax.Array, shape: Any, dtype: Any) -> jax.Array:
    """Biases that believe the analytic differences everywhere alike."""
    del key
    return jnp.resize(jnp.asarray([2.0, 0.0, 2.0, 0.0], dtype), shape)
