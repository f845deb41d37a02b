"""Autoencoder of waveforms (SincNet): analysis and synthesis of one filterbank."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.bank.analysis import COLLECTION, Analysis, Learnable, check_learnable
from isincnet_jax.bank.decoder_spec import DecoderSpec
from isincnet_jax.bank.designed import Bank
from isincnet_jax.bank.projection import design_projection, resolve_scale
from isincnet_jax.bank.solved import SolvedDecoder
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.bank.synthesis import Synthesis
from isincnet_jax.dsp import scales
from isincnet_jax.dsp.settling import settles
from isincnet_jax.linen import SettledModule
from isincnet_jax.typing import Spectrogram, Waveform


def check_refinements(refinements: Any) -> int:
    """Number of refinements, see :meth:`SincNet.decode`.

    Args:
        refinements: anything.

    Returns:
        The number as ``int``.

    Raises:
        ValueError: unless it is an integer of at least 0.
    """
    is_integer = isinstance(refinements, (int, np.integer)) and not isinstance(refinements, bool)
    if not is_integer or refinements < 0:
        raise ValueError(
            f"refinements={refinements!r} must be an integer of at least 0; 1 or 2 are enough"
        )
    return int(refinements)


class SincNet(SettledModule):
    """Autoencoder: waveform to sinc spectrogram and back, exact from the first call.

    Filters that are learned leave the decoder behind; :func:`.learned_inverse.with_exact_decoder`
    solves it anew.

    Attributes:
        spec: the filterbank.
        decoder: how the inverse is found; exact by default.
        learnable_filters: True makes centres and bandwidths parameters, "free" every tap, see
            :class:`.analysis.Analysis`.
        learnable_decoder: the synthesis kernels become parameters, initialised exact.
        window_terms: of a learnable window, see :class:`.analysis.Analysis`.
        compute_dtype: of the learnable decoder's products, bfloat16 say; ``dtype`` if None.
            Filters, coefficients and waveforms stay in ``dtype``.
        projections: scales that ``encode(scale=...)`` and ``decode(scale=...)`` offer beside the
            bank's own, by a matrix per frame as in iSincNet 0.1.0.
        dtype: float32, or float64 with ``jax_enable_x64``.
        precision: of products on accelerators.

    Example:
        >>> import jax
        >>> model = SincNet(FilterbankSpec(shape="none"))
        >>> waveform = jax.random.normal(jax.random.key(0), (1, 1000))
        >>> variables = model.init(jax.random.key(1), waveform)
        >>> spectrogram = model.apply(variables, waveform, method="encode")
        >>> again = model.apply(variables, spectrogram, length=1000, method="decode")
        >>> bool(jnp.max(jnp.abs(again - waveform)) < 1e-5)
        True
    """

    spec: FilterbankSpec
    decoder: DecoderSpec = DecoderSpec()
    learnable_filters: Learnable = False
    learnable_decoder: bool = False
    window_terms: int = 0
    compute_dtype: Any = None
    projections: tuple[str, ...] = ()
    dtype: Any = jnp.float32
    precision: lax.PrecisionLike = lax.Precision.HIGHEST

    def __post_init__(self) -> None:
        """Checks what is to be learned."""
        # Names whose meaning can change; "mel" means what the spec's dialect says.
        self.projections = type(self.projections)(
            scales.ScaleName.settle(name) if name in scales.SCALES else name
            for name in self.projections
        )
        check_learnable(self.learnable_filters, spec=self.spec, window_terms=self.window_terms)
        super().__post_init__()

    @property
    def bank(self) -> Bank:
        """Designed bank, see :attr:`.analysis.Analysis.bank`."""
        return Analysis(self.spec, learnable=self.learnable_filters, parent=None).bank

    @property
    def solved(self) -> SolvedDecoder:
        """Solved decoder, see :attr:`.synthesis.Synthesis.solved`."""
        learnable = self.learnable_decoder
        return Synthesis(self.spec, self.decoder, learnable=learnable, parent=None).solved

    def setup(self) -> None:
        """Parts of the autoencoder: analysis, synthesis, and the matrices of the projections."""
        common = {"dtype": self.dtype, "precision": self.precision}
        self.analysis = Analysis(
            self.spec, learnable=self.learnable_filters, window_terms=self.window_terms, **common
        )
        self.synthesis = Synthesis(
            self.spec,
            self.decoder,
            learnable=self.learnable_decoder,
            compute_dtype=self.compute_dtype,
            **common,
        )
        # P and Q of every scale offered, as variables: inputs of jitted functions, not constants.
        matrices = {}
        for scale in self.projections:
            name = resolve_scale(self.spec, scale)
            for way in ("forward", "backward"):
                matrices[name, way] = self.variable(
                    COLLECTION,
                    f"{name}_{way}",
                    lambda name=name, way=way: jnp.asarray(
                        getattr(design_projection(self.spec, name), way), self.dtype
                    ),
                )
        self.matrices = matrices

    def _project(self, spectrogram: Spectrogram, scale: str | None, way: str) -> Spectrogram:
        own = self.spec.scale
        if scale is None:
            return spectrogram
        name = resolve_scale(self.spec, scale)
        if name == own:
            return spectrogram
        if (name, way) not in self.matrices:
            offered = ", ".join([own, *self.projections])
            raise ValueError(
                f"scale={scale!r}: this model offers {offered}; list others in "
                "SincNet(projections=...)"
            )
        matrix = self.matrices[name, way].value
        return jnp.matmul(spectrogram, matrix, precision=self.precision)

    def encode(self, waveform: Waveform, *, scale: str | None = None) -> Spectrogram:
        """Spectrogram of a waveform.

        Args:
            waveform: [time] or [..., time], in ``dtype``.
            scale: None or the bank's own scale for its coefficients; the name of a projection
                for those of another scale, estimated frame by frame.

        Returns:
            [..., frames, channels].

        Raises:
            TypeError: for another dtype than ``dtype``.
            ValueError: for an empty waveform or a scale that the model does not offer.
        """
        return self._project(self.analysis(waveform), scale, "forward")

    @settles
    def decode(
        self,
        spectrogram: Spectrogram,
        *,
        length: int | None = None,
        scale: str | None = None,
        refinements: int = 0,
    ) -> Waveform:
        """Waveform of a spectrogram.

        A refinement decodes what the coefficients of the result still lack, ``y += D (s - A y)``,
        and takes one more encoding and decoding. With an exact decoder it takes back part of the
        rounding of the first one, 2 to 5 dB for well-conditioned banks; what the rounding of the
        coefficients themselves has lost does not return, and quantised coefficients decode as
        before, since ``D A = 1``. A Wiener decoder's signal comes nearer to its coefficients, with
        more of their noise than it would let through; after many it is an inverse.

        Args:
            spectrogram: [..., frames, channels], in ``dtype``.
            length: samples of the clip; the longest with so many frames if None.
            scale: what ``encode`` was given; the bank's own coefficients are what is refined.
            refinements: how many; 0 or more.

        Returns:
            [..., length].

        Raises:
            ValueError: for negative ``refinements``, and shapes that do not fit.
        """
        refinements = check_refinements(refinements)
        spectrogram = self._project(spectrogram, scale, "backward")
        waveform = self.synthesis(spectrogram, length)
        for _ in range(refinements):
            # y += D (s - A y)
            lacking = spectrogram - self.analysis(waveform)
            waveform = waveform + self.synthesis(lacking, waveform.shape[-1])
        return waveform

    def filters(self) -> Float[jax.Array, "..."]:
        """The analysis filters in use, see :meth:`.analysis.Analysis.filters`.

        Returns:
            Kernels [channels, taps], or a fixed uniform bank's window [taps].
        """
        return self.analysis.filters()

    def prepare(self) -> None:
        """Makes the variables and nothing else: ``model.init(key, method=model.prepare)``."""
        self.analysis.filters()
        self.synthesis.weights()

    def __call__(self, waveform: Waveform) -> Waveform:
        """Reconstruction of a waveform, in its shape.

        Args:
            waveform: [..., time], in ``dtype``.

        Returns:
            [..., time].
        """
        return self.decode(self.encode(waveform), length=waveform.shape[-1])
