"""Mel spectrograms as other projects make them, by name, and the way back to linear mels.

=============  =======  =========  ====  ==================  ===================  ===============
name           rate     STFT, hop  mels  of                  compression          frames
=============  =======  =========  ====  ==================  ===================  ===============
"vocos"        24,000   1024, 256  100   magnitudes, HTK     ln, 1e-7 at least    centred
"hifigan"      22,050   1024, 256  80    magnitudes, Slaney  ln, 1e-5 at least    within reflected
                                         to 8 kHz                                 ends
"tacotron2"    22,050   1024, 256  80    magnitudes, Slaney  ln, 1e-5 at least    centred
                                         to 8 kHz
"whisper"      16,000   400, 160   80    energies, Slaney    (log10 + 4) / 4,     centred, but for
                                                             maximum - 8 at       the last
                                                             least
"whisper-128"  16,000   400, 160   128   energies, Slaney    the same             the same
=============  =======  =========  ====  ==================  ===================  ===============

References:
    H. Siuzdak, "Vocos", ICLR 2024; ``vocos/feature_extractors.py`` of
        https://github.com/gemelo-ai/vocos
    J. Kong, J. Kim and J. Bae, "HiFi-GAN", NeurIPS 2020; ``meldataset.py`` of
        https://github.com/jik876/hifi-gan
    J. Shen et al., "Natural TTS synthesis by conditioning WaveNet on mel spectrogram predictions",
        ICASSP 2018; ``layers.py`` and ``stft.py`` of https://github.com/NVIDIA/tacotron2
    A. Radford et al., "Robust speech recognition via large-scale weak supervision", ICML 2023;
        ``whisper/audio.py`` of https://github.com/openai/whisper
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.dsp import auditory, checks, fourier, padding
from isincnet_jax.typing import Array, Waveform
from isincnet_jax.vocoders.features import VocoderFeatures

_WHISPER_RANGE = 8.0  # decades of energy, 80 dB


@dataclasses.dataclass(frozen=True)
class MelPreset:
    """Mel spectrogram of another project: its features, and back to linear mels.

    Frozen and hashable, so that its methods can be jitted; see :func:`mel_preset`.

    Attributes:
        name: of the project.
        sample_rate: Hz.
        n_fft: samples per frame and of the Hann window.
        hop_length: samples between frames.
        n_mels: filters.
        scale: "mel_slaney" (filters of area 1) or "mel_htk" (of height 1).
        fmax: upper edge of the last filter, Hz; half the sample rate if None.
        power: 1 of magnitudes, 2 of energies.
        added: to the energy below the root of a magnitude.
        floor: values below count as this.
        compression: "ln", or "whisper": ``(max(log10 x, max log10 x - 8) + 4) / 4``.
        frames: "centred" at multiples of the hop, "ends" (the clip is continued by
            ``(n_fft - hop_length) / 2`` on both sides, and frames begin there), or "all but the
            last" of the centred ones.
    """

    name: str
    sample_rate: int
    n_fft: int
    hop_length: int
    n_mels: int
    scale: Literal["mel_slaney", "mel_htk"] = "mel_slaney"
    fmax: float | None = 8000.0
    power: Literal[1, 2] = 1
    added: float = 0.0
    floor: float = 1e-5
    compression: Literal["ln", "whisper"] = "ln"
    frames: Literal["centred", "ends", "all but the last"] = "centred"

    @property
    def filters(self) -> Float[np.ndarray, "mels bins"]:
        """Mel filters, float64 [n_mels, 1 + n_fft // 2], for :func:`.mel_to_magnitude`."""
        return self._linear.mel_weights()

    @property
    def vocoder_features(self) -> VocoderFeatures | None:
        """Features of a vocoder that takes :meth:`magnitudes`; None of energies.

        A frame of "hifigan" is centred half a hop behind that of a vocoder: what is synthesised
        begins with sample ``hop_length // 2``, 128.
        """
        return self._linear if self.power == 1 else None

    @property
    def _linear(self) -> VocoderFeatures:
        return VocoderFeatures(
            self.scale,
            self.sample_rate,
            n_fft=self.n_fft,
            win_length=self.n_fft,
            hop_length=self.hop_length,
            n_mels=self.n_mels,
            fmax=self.fmax,
        )

    def num_frames(self, num_samples: int) -> int:
        """Frames of a waveform.

        Args:
            num_samples: at least 1; of "hifigan" at least ``hop_length``.

        Returns:
            ``1 + n // hop_length`` of centred frames, ``n // hop_length`` of the others.
        """
        return num_samples // self.hop_length + (self.frames == "centred")

    def features(self, waveform: Waveform) -> Float[jax.Array, "... frames mels"]:
        """Features of a waveform as the project makes them, but for their axes: frames first.

        Args:
            waveform: [..., time], floating, full scale 1, at ``sample_rate``.

        Returns:
            [..., frames, n_mels]. Gradients are finite on silence.

        Raises:
            ValueError: for a clip without a frame.

        References:
            Departure: Whisper seeks the loudest in the whole batch; here it is each clip's own.
            Reflections of clips that are shorter than they are long are continued.
        """
        waveform = checks.as_waveform(waveform)
        if not self.num_frames(waveform.shape[-1]):
            raise ValueError(
                f"waveform.shape={waveform.shape}: {self.name} has no frame of it; give "
                f"{self.hop_length} samples or more"
            )
        if self.frames == "ends":
            beyond = (self.n_fft - self.hop_length) // 2
            waveform = padding.continued(waveform, beyond, beyond, mode="reflect")
        mel = fourier.stft_power(
            waveform,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            center=self.frames != "ends",
            power=2.0 if self.added else float(self.power),
            then=self._mels,
        )
        return self._compress(mel[..., :-1, :] if self.frames == "all but the last" else mel)

    def _mels(self, values: jax.Array) -> jax.Array:
        if self.added:
            values = jnp.sqrt(values + self.added)  # of energies
        return auditory.weigh_bins(values, self.filters)

    def _compress(self, mel: jax.Array) -> jax.Array:
        logs = jnp.log(jnp.maximum(mel, self.floor))
        if self.compression == "ln":
            return logs
        logs = logs / math.log(10.0)
        loudest = jnp.max(logs, axis=(-2, -1), keepdims=True)
        return (jnp.maximum(logs, loudest - _WHISPER_RANGE) + 4.0) / 4.0

    def magnitudes(
        self, features: Float[Array, "... frames mels"]
    ) -> Float[jax.Array, "... frames mels"]:
        """Linear mels of features: the inverse of the compression, but for what is below its floor.

        Args:
            features: [..., frames, n_mels] as of :meth:`features`, or predicted ones.

        Returns:
            Sums under the mel filters, of magnitudes, of "whisper" of energies (``power``); in the
            shape of the features. For a vocoder of :attr:`vocoder_features`, or
            ``mel_to_magnitude(mel, preset.filters, power=preset.power)``.

        Raises:
            ValueError: for another number of mels.
        """
        features = checks.as_floating(features, "features", ndim=2)
        if features.shape[-1] != self.n_mels:
            raise ValueError(
                f"features.shape={features.shape}: {self.name} has [..., frames, {self.n_mels}]; "
                "frames come before mels"
            )
        if self.compression == "whisper":
            features = math.log(10.0) * (4.0 * features - 4.0)
        return jnp.exp(features)


MEL_PRESETS: Mapping[str, MelPreset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            MelPreset("vocos", 24_000, 1024, 256, 100, "mel_htk", fmax=None, floor=1e-7),
            MelPreset("hifigan", 22_050, 1024, 256, 80, added=1e-9, frames="ends"),
            MelPreset("tacotron2", 22_050, 1024, 256, 80),
            *(
                MelPreset(
                    *(name, 16_000, 400, 160, n_mels),
                    power=2,
                    floor=1e-10,
                    compression="whisper",
                    frames="all but the last",
                )
                for name, n_mels in (("whisper", 80), ("whisper-128", 128))
            ),
        )
    }
)
"""All of them by name."""


def mel_preset(name: str) -> MelPreset:
    """Mel spectrogram of another project, by name.

    Args:
        name: "vocos", "hifigan", "tacotron2", "whisper" or "whisper-128".

    Returns:
        Its settings, ``features(waveform)`` and, back to linear mels, ``magnitudes(features)``.

    Raises:
        ValueError: for an unknown name.

    References:
        See :mod:`isincnet_jax.vocoders.mel_presets`.

    Example:
        >>> preset = mel_preset("hifigan")
        >>> log_mel = preset.features(jnp.zeros(22_050, jnp.float32))
        >>> log_mel.shape, preset.magnitudes(log_mel).shape
        ((86, 80), (86, 80))
    """
    checks.check_choice("name", name, tuple(MEL_PRESETS))
    return MEL_PRESETS[name]
