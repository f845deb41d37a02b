"""Compiled kernels of the entropy coder: bits, their probabilities, and frames of codes.

One file, because Numba's cache looks at the file of a function and not at those that it calls.
Everything that decides a bit is 64-bit integer arithmetic (sums, products, quotients, shifts), so
that an encoder and a decoder compute the same on every machine.

**Range coder.** An interval ``low .. high`` of 32-bit numbers is divided in proportion to the
probability of the next bit; bytes on which both ends agree are written. The decoder holds 32 bits
of the file beside the same interval and sees in which part they lie.

**Probabilities.** Each context of a decision holds an estimate of its probability. Their logits are
added with weights that are learned as the decisions come (an online logistic regression), and the
sum is corrected by an adaptive curve. Logits are in units of 1 / 256, from -8 to 8; probabilities
have 16 bits, those of a context 22.

**Frames.** A code is a magnitude and a sign. The magnitude is said in decisions (more than 0? more
than 1? ... more than 6?), what lies beyond in the classes of an Elias gamma code, whose number is
said in decisions too. Signs, and all but the two first bits within a class, are coded flat: they
cannot be told from their surroundings. The magnitudes around a code tell its own: the lower bins of
its frame, the same and neighbouring ones of the three frames before, slow averages, and those of
the audio channel before it. Nine contexts (ten for later audio channels) look at them.

**Residuals.** What codes leave of the samples of a lossless file is predicted sample by sample, see
:class:`Predictor`, and what the prediction misses is said by bisection of buckets that scale with
what the last ones missed. Solving the least squares is the one place with floats, see
:func:`solve`.

References:
    M. Mahoney, "Adaptive weighing of context models for lossless data compression", Florida Tech.
        Technical Report CS-2005-16, 2005 (logistic mixing); "Data Compression Explained", 2013,
        section 3.2 (arithmetic coding of binary decisions). https://mattmahoney.net/dc/dce.html
    B. Knoll and N. de Freitas, "A machine learning perspective on predictive coding with PAQ",
        DCC 2012: mixing as online gradient descent.
    P. Elias, "Universal codeword sets and representations of the integers", IEEE Trans. Inf.
        Theory 21, 1975.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

LOW, HIGH, CODE, POSITION = range(4)
"""Of a range coder's state: both ends of the interval, 32 bits of the file, the next byte."""

UNARY = 7
"""Decisions about a magnitude before the classes begin."""
DECISIONS = UNARY + 15
CLASSES = 20
"""Largest class: magnitudes reach 2^20."""
CONTEXTS = 10
CONTEXT_SIZE = 4096
"""Estimates of a context and decision."""
LEVELS = 96
"""Logarithms of an expected magnitude."""
PAD = 4
"""Zeros on both sides of what is remembered: neighbours need no bounds."""
FLAT = 1 << 15
_LIMIT = 255
_RATE = 6
_SLOW = 7
_TOP = 0xFF000000
_MASK = 0xFFFFFFFF


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled on its first call, for all processes to come where a folder can be written."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's
        return njit(nogil=True)(function)


class Mixer(NamedTuple):
    """State of the probabilities of a set of decisions, changed by every one of them.

    Attributes:
        estimates: uint32 [decisions, contexts, 4096]: probability times 2^22, and how many
            decisions it has seen.
        weights: int64 [3, decisions * 64, 2 contexts + 1]: three sets, each chosen by a selector
            of 64 values; 2^16 is a weight of 1.
        curves: int64 [decisions, 128, 33], 16 bits: probability by logit, chosen by a selector.
        inputs: int64 [2 contexts + 1], of the decision at hand.
        output: int64 [4], of the decision at hand: three logits, cell of the curve.
    """

    estimates: np.ndarray
    weights: np.ndarray
    curves: np.ndarray
    inputs: np.ndarray
    output: np.ndarray


class Tables(NamedTuple):
    """Tables of the logistic function, of reciprocals and of logarithms, int64.

    Attributes:
        logits: [4096]: 256 ln(p / (1 - p)) of 12-bit probabilities.
        chances: [4096]: 16-bit probabilities of the logits from -2048 to 2047.
        reciprocals: [1024]: 2^16 / (n + 1.6).
        logarithms: [2^14]: 6 log2(1 + v / 4).
    """

    logits: np.ndarray
    chances: np.ndarray
    reciprocals: np.ndarray
    logarithms: np.ndarray


class Past(NamedTuple):
    """What an audio channel remembers, int64 [size + 8] each, 4 zeros on both sides.

    Attributes:
        last: magnitudes of the frame before.
        second: of the frame before that.
        third: of the frame before that.
        slow: average over some 8 frames, in sixteenths.
    """

    last: np.ndarray
    second: np.ndarray
    third: np.ndarray
    slow: np.ndarray


class Model(NamedTuple):
    """All that adapts: probabilities of decisions, and those of the first bits of a class.

    Attributes:
        mixer: of the decisions.
        classes: int64 [classes + 1, 4, 4], 16 bits: by the bits so far and the expectation.
    """

    mixer: Mixer
    classes: np.ndarray


@_compiled
def code_bit(coder, data, decoding, bit, probability):
    """Codes a bit.

    Args:
        coder: int64 [4], changed.
        data: uint8; written when encoding, with room for three bytes more, read when decoding.
        decoding: whether the bit is to be found.
        bit: 0 or 1; not looked at when decoding.
        probability: of a 1, 1 to 2^16 - 1.

    Returns:
        The bit.
    """
    low = coder[LOW]
    high = coder[HIGH]
    width = high - low
    # low + width p / 2^16 without a product beyond 48 bits; at least low, less than high.
    middle = low + (width >> 16) * probability + (((width & 65535) * probability) >> 16)
    if decoding:
        bit = 1 if coder[CODE] <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    while ((low ^ high) & _TOP) == 0:
        position = coder[POSITION]
        if decoding:
            byte = data[position] if position < data.shape[0] else 0
            coder[CODE] = ((coder[CODE] << 8) & _MASK) | np.int64(byte)
        else:
            data[position] = high >> 24
        coder[POSITION] = position + 1
        low = (low << 8) & _MASK
        high = ((high << 8) & _MASK) | 255
    coder[LOW] = low
    coder[HIGH] = high
    return bit


@_compiled
def predict(mixer, tables, decision, contexts, selectors, curve):
    """Probability that a decision is a 1.

    Args:
        mixer: a :class:`Mixer`; its inputs and output are set, for :func:`learn`.
        tables: of :func:`.coding_tables.tables`.
        decision: its kind.
        contexts: int64 [contexts], below 4096.
        selectors: int64 [3], of the weights in each set, below 64.
        curve: selector of the curve, below 128.

    Returns:
        16 bits, from 48 to 2^16 - 48.
    """
    estimates, inputs = mixer.estimates, mixer.inputs
    count = contexts.shape[0]
    left = mixer.weights[0, decision * 64 + selectors[0]]
    right = mixer.weights[1, decision * 64 + selectors[1]]
    third = mixer.weights[2, decision * 64 + selectors[2]]
    one = np.int64(0)
    two = np.int64(0)
    three = np.int64(0)
    for index in range(count):
        cell = np.int64(estimates[decision, index, contexts[index]])
        logit = tables.logits[cell >> 20]
        seen = min(cell & 1023, 32)
        # What a context says twice over: its logit, and its leaning weighed by what it has seen.
        leaning = (((cell >> 16) - 32768) * seen) >> 11
        inputs[index] = logit
        inputs[count + index] = leaning
        one += logit * left[index] + leaning * left[count + index]
        two += logit * right[index] + leaning * right[count + index]
        three += logit * third[index] + leaning * third[count + index]
    inputs[2 * count] = 64
    one = min(max((one + 64 * left[2 * count]) >> 16, -2047), 2047)
    two = min(max((two + 64 * right[2 * count]) >> 16, -2047), 2047)
    three = min(max((three + 64 * third[2 * count]) >> 16, -2047), 2047)
    place = (((one + two + three) * 21845) >> 16) + 2048
    cell = place >> 7
    fraction = place & 127
    row = mixer.curves[decision, curve]
    corrected = (row[cell] * (128 - fraction) + row[cell + 1] * fraction) >> 7
    output = mixer.output
    output[0] = one
    output[1] = two
    output[2] = three
    output[3] = cell if fraction < 64 else cell + 1
    chance = (tables.chances[place] + corrected) >> 1
    return min(max(chance, 48), 65536 - 48)


@_compiled
def learn(mixer, tables, decision, contexts, selectors, curve, bit):
    """Takes in the decision that :func:`predict` was asked for.

    Args:
        mixer: the same; changed.
        tables: the same.
        decision: the same, as are the next three.
        contexts: the same.
        selectors: the same.
        curve: the same.
        bit: what was decided.
    """
    estimates, inputs, output = mixer.estimates, mixer.inputs, mixer.output
    count = contexts.shape[0]
    left = mixer.weights[0, decision * 64 + selectors[0]]
    right = mixer.weights[1, decision * 64 + selectors[1]]
    third = mixer.weights[2, decision * 64 + selectors[2]]
    target = np.int64(65535 if bit else 0)
    # Gradient of the code length: the error of the probability times the input.
    one = (target - tables.chances[output[0] + 2048]) * _RATE
    two = (target - tables.chances[output[1] + 2048]) * _RATE
    three = (target - tables.chances[output[2] + 2048]) * _RATE
    for index in range(2 * count + 1):
        left[index] += (inputs[index] * one + (1 << 17)) >> 18
        right[index] += (inputs[index] * two + (1 << 17)) >> 18
        third[index] += (inputs[index] * three + (1 << 17)) >> 18
    goal = np.int64(((1 << 22) - 1) if bit else 0)
    for index in range(count):
        cell = np.int64(estimates[decision, index, contexts[index]])
        seen = cell & 1023
        chance = cell >> 10
        # The mean of all so far, at first; a memory of about 255 decisions later.
        chance += ((goal - chance) * tables.reciprocals[seen]) >> 16
        if seen < _LIMIT:
            seen += 1
        estimates[decision, index, contexts[index]] = (chance << 10) | seen
    row = mixer.curves[decision, curve]
    row[output[3]] += (target - row[output[3]]) >> _SLOW


@_compiled
def _expect(past, sizes, other, place, around, logarithms, wide, contexts, position, near):
    """Contexts of the code at ``place``; returns the logarithm of the expected magnitude."""
    a, b, c, d = sizes[place - 1], sizes[place - 2], sizes[place - 3], sizes[place - 4]
    last, second, third, slow = past.last, past.second, past.third, past.slow
    up, down = last[place + 1], last[place - 1]
    far = last[place + 2] + last[place - 2]
    same = last[place]
    older = second[place + 1] + second[place - 1]
    total = (
        around[0] * a
        + around[1] * b
        + around[2] * (c + d)
        + around[3] * same
        + around[4] * (up + down)
        + around[5] * far
        + around[6] * second[place]
        + around[7] * older
        + around[8] * third[place]
    ) * 16
    total += around[9] * slow[place] + around[10] * (slow[place + 1] + slow[place - 1])
    total += around[11] * (wide >> 1)
    if near:
        # The channel before it knows as much as half of that.
        beside = 2 * other[place] + other[place - 1] + other[place + 1]
        total = (total * 5 + beside * 16 * 3 * 64) >> 3
    expected = min(_log(total >> 8, logarithms), LEVELS - 1)
    before = _log((2 * a + b) * 5, logarithms)
    frame = _log((2 * same + up + down) * 4, logarithms)
    frames = _log((2 * second[place] + older + 2 * third[place]) * 3, logarithms)
    spread = _log(wide, logarithms)
    steady = _log(slow[place], logarithms)
    contexts[0] = expected
    contexts[1] = min(before >> 1, 31) * 64 + min(frame >> 1, 31)
    contexts[2] = min(steady, 63) * 32 + min(expected >> 2, 31)
    contexts[3] = (
        min(a, 3)
        + 4 * min(b, 3)
        + 16 * min(same, 3)
        + 64 * min(up, 3)
        + 256 * min(down, 3)
        + 1024 * min(second[place], 3)
    )
    contexts[4] = min(spread >> 1, 31) * 64 + min(expected >> 1, 63)
    contexts[5] = min(frame >> 1, 31) * 32 + min(frames >> 1, 31)
    contexts[6] = position * 4 + min(expected >> 3, 3)
    contexts[7] = (
        min(_log(a * 16, logarithms) >> 2, 15) * 256
        + min(_log(same * 16, logarithms) >> 2, 15) * 16
        + min(_log((b + c) * 8, logarithms) >> 2, 15)
    )
    ahead = far + up + down + last[place + 3]
    contexts[8] = min(_log((a + b + c + d) * 4, logarithms) >> 1, 31) * 64 + min(
        _log(ahead * 4, logarithms) >> 1, 63
    )
    if near:
        contexts[9] = (
            min(_log(other[place] * 16, logarithms) >> 1, 31) * 64
            + min(_log((other[place - 1] + other[place + 1]) * 8, logarithms) >> 2, 15) * 4
            + min(expected >> 3, 3)
        )
    return expected


@_compiled
def _log(value, logarithms):
    return logarithms[min(value, logarithms.shape[0] - 1)]


@_compiled
def code_frame(
    decoding, codes, ratios, trade, past, other, near, around, model, tables, coder, data
):
    """Codes a frame of one audio channel.

    Args:
        decoding: whether the codes are to be found.
        codes: int64 [size], signed; what was coded when it returns.
        ratios: float64 [size]: magnitudes of the coefficients, in steps; for ``trade`` only.
        trade: squared error, in steps, that a bit is worth; 0 to round nothing.
        past: a :class:`Past` of this audio channel.
        other: magnitudes of the audio channel before, int64 [size + 8], zeros if there is none.
        near: whether there is one.
        around: int64 [12], weights of the expected magnitude in 1 / 256.
        model: a :class:`Model`, changed.
        tables: a :class:`Tables`.
        coder: state of the range coder, changed.
        data: its bytes, with room when encoding.

    Returns:
        Magnitudes, int64 [size + 8]; none at all for bits that no encoder writes.
    """
    size = codes.shape[0]
    mixer = model.mixer
    sizes = np.zeros(size + 2 * PAD, np.int64)
    contexts = np.zeros(CONTEXTS if near else CONTEXTS - 1, np.int64)
    selectors = np.zeros(3, np.int64)
    wide = np.int64(0)
    for index in range(size):
        place = index + PAD
        wide += (sizes[place - 1] * 32 - wide) >> 3
        position = (index << 10) // size
        expected = _expect(
            past, sizes, other, place, around, tables.logarithms, wide, contexts, position, near
        )
        curve = min(expected, 127)
        selectors[0] = min(expected >> 1, 47)
        selectors[1] = position >> 4
        selectors[2] = (
            min(sizes[place - 1], 3) * 16
            + min(past.last[place], 3) * 4
            + min(past.second[place], 3)
        )
        magnitude = abs(codes[index])
        if trade > 0 and 0 < magnitude <= UNARY:
            magnitude = _cheapest(
                magnitude, ratios[index], trade, mixer, tables, contexts, selectors, curve
            )
        level = 0
        while level < UNARY:
            chance = predict(mixer, tables, level, contexts, selectors, curve)
            bit = code_bit(coder, data, decoding, 1 if magnitude > level else 0, chance)
            learn(mixer, tables, level, contexts, selectors, curve, bit)
            if not bit:
                break
            level += 1
        if level == UNARY:
            level = _code_beyond(
                decoding, magnitude, expected, model, tables, contexts, selectors, coder, data
            )
            if level < 0:
                return np.zeros(0, np.int64)
        sizes[place] = level
        if level:
            sign = code_bit(coder, data, decoding, 1 if codes[index] < 0 else 0, FLAT)
            codes[index] = -level if sign else level
        else:
            codes[index] = 0
    return sizes


@_compiled
def _code_beyond(decoding, magnitude, expected, model, tables, contexts, selectors, coder, data):
    """Codes a magnitude of 7 or more and returns it; -1 for one that no encoder writes."""
    mixer, classes = model.mixer, model.classes
    curve, coarse = min(expected, 127), min(expected >> 4, 3)
    beyond = magnitude - UNARY + 1  # 1 or more: 2^class and what lies above it
    wanted = 0
    while not decoding and beyond >> (wanted + 1):
        wanted += 1
    found = 0
    while True:
        decision = min(UNARY + found, DECISIONS - 1)
        chance = predict(mixer, tables, decision, contexts, selectors, curve)
        bit = code_bit(coder, data, decoding, 1 if found < wanted else 0, chance)
        learn(mixer, tables, decision, contexts, selectors, curve, bit)
        if not bit:
            break
        found += 1
        if found > CLASSES:
            return np.int64(-1)
    value = np.int64(1)
    for shift in range(found - 1, -1, -1):
        bit = (beyond >> shift) & 1
        if found - 1 - shift < 2:
            prefix = value if found - 1 - shift else 0
            chance = classes[found, prefix, coarse]
            bit = code_bit(coder, data, decoding, bit, chance)
            moved = chance + (((65535 if bit else 0) - chance) >> 5)
            classes[found, prefix, coarse] = min(max(moved, 256), 65280)
        else:
            bit = code_bit(coder, data, decoding, bit, FLAT)
        value = 2 * value + bit
    return value + UNARY - 1


@_compiled
def code_flag(coder, data, decoding, bit, chances, index):
    """Codes a bit with a probability of its own, which adapts.

    Args:
        coder: state of the range coder, changed.
        data: its bytes.
        decoding: whether the bit is to be found.
        bit: 0 or 1; not looked at when decoding.
        chances: int64, 16 bits, changed.
        index: which of them.

    Returns:
        The bit.
    """
    chance = chances[index]
    bit = code_bit(coder, data, decoding, bit, chance)
    moved = chance + (((65535 if bit else 0) - chance) >> 4)
    chances[index] = min(max(moved, 1024), 64512)
    return bit


@_compiled
def _cheapest(magnitude, ratio, trade, mixer, tables, contexts, selectors, curve):
    """The magnitude, the one below it, or 0: the least squared error plus ``trade`` times bits."""
    best, least, bits = magnitude, np.inf, 0.0
    for level in range(magnitude + 1):
        more = 0.0
        if level < UNARY:
            chance = predict(mixer, tables, level, contexts, selectors, curve) / 65536.0
            stop, more = -math.log2(1.0 - chance), -math.log2(chance)
        else:
            stop = 0.0
        if level == 0 or level >= magnitude - 1:
            cost = (ratio - level) ** 2 + trade * (bits + stop + (1.0 if level else 0.0))
            if cost < least:
                best, least = level, cost
        bits += more
    return best


FILTERS = (256, 32, 16)
"""Taps of the adaptive filters of a residual, one behind the other."""
OWN, OTHER, BASE = 32, 16, 4
"""Samples that least squares predict from: of the audio channel before this one, of the channel
before it, and of the base layer on either side."""
LEAVES = 16
"""Buckets of a residual."""
RESIDUAL_DECISIONS = LEAVES - 1 + 16
RESIDUAL_CONTEXTS = 5
_STAGES = len(FILTERS)
_LONGEST = FILTERS[0]
_TAPS = np.array(FILTERS)
_OWN_AT = 2 * BASE + 1
_OTHER_AT = _OWN_AT + OWN
_SOLVE_EVERY = 128
_MEMORY = 0.998**_SOLVE_EVERY
_WEIGHT_BITS = 20
_LARGEST_INPUT = 1 << 25
_LARGEST_WEIGHT = 1 << 26
_POWER_BITS = 36
SHARE_BITS = 22
"""Units of the weights by which predictions are added."""
_LARGEST_SHARE = 4 << SHARE_BITS
_MOST_FOLDED = 1 << 28


class Predictor(NamedTuple):
    """State of the predictor of a residual; int64 unless said, and all samples scaled to 24 bits.

    Least squares predict a sample first; a cascade of normalised LMS filters works on what they
    leave, each on what the one before leaves; and for several audio channels a last filter predicts
    from what is left of the channel before. The predictions are added with weights that adapt, too;
    where least squares alone came nearer lately, as where two channels are the same, they count.

    Attributes:
        seen: [audio channels, filters + 2, 256 + time]: the samples, what each filter sees, and
            what the last one leaves, behind zeros.
        around: [audio channels, time + 8], the base layer between zeros.
        inputs: [taps] of the least squares.
        reals: the same as float64.
        linear: [audio channels, taps], their weights, in units of 2^-20, as all weights of filters.
        moments: float64 [audio channels, taps + 1, taps], from which these follow.
        weights: [audio channels, filters, 256], of the filters.
        powers: [audio channels, filters], sums of squares of what they look at.
        across: [audio channels, 16], weights of the last filter.
        predictions: [filters + 2] of the sample at hand: least squares, filters, last filter.
        shares: [audio channels, filters + 2], by which they are added, in units of 2^-22.
        loudness: [audio channels, filters + 2], means of their squares.
        sums: [audio channels], weighted sums for the sample at hand.
        misses: [audio channels, 2], means of what the sum and least squares alone missed.
    """

    seen: np.ndarray
    around: np.ndarray
    inputs: np.ndarray
    reals: np.ndarray
    linear: np.ndarray
    moments: np.ndarray
    weights: np.ndarray
    powers: np.ndarray
    across: np.ndarray
    predictions: np.ndarray
    shares: np.ndarray
    loudness: np.ndarray
    sums: np.ndarray
    misses: np.ndarray


class Spread(NamedTuple):
    """What tells how far a prediction will miss, int64.

    Attributes:
        means: [audio channels, 4] of folded values, in units of 1 / 64.
        last: [audio channels, 3], the last folded values.
        contexts: [5], of the value at hand.
        selectors: [3], of the value at hand.
    """

    means: np.ndarray
    last: np.ndarray
    contexts: np.ndarray
    selectors: np.ndarray


@_compiled
def code_residual(decoding, samples, bits, predictor, spread, edges, mixer, tables, coder, data):
    """Codes integers that a predictor predicts: the residual of a block.

    Args:
        decoding: whether the samples are to be found.
        samples: int64 [time, audio channels], up to 2^bits either way; set when decoding.
        bits: of the recording, 8 to 24.
        predictor: a :class:`Predictor`, changed.
        spread: a :class:`Spread`, changed.
        edges: int64 [16], of the buckets, see :func:`_code_folded`.
        mixer: a :class:`Mixer`, changed.
        tables: a :class:`Tables`.
        coder: state of the range coder, changed.
        data: its bytes, with room when encoding.

    Returns:
        Whether an encoder can have written that.
    """
    length, num_audio = samples.shape
    below = 24 - bits
    # Solved after 32 samples, 64, 128, and then after every 128.
    solve_at = np.int64(_SOLVE_EVERY // 4)
    for time in range(length):
        if time == solve_at:
            for audio in range(num_audio):
                solve(predictor.moments[audio], float(1 << 2 * below), predictor.linear[audio])
                _forget(predictor.moments[audio])
            solve_at += min(time, _SOLVE_EVERY)
        for audio in range(num_audio):
            predicted = _predict(predictor, time, audio)
            nearest = (predicted + ((1 << below) >> 1)) >> below
            above = predicted >= nearest << below
            size = _expect_residual(spread, audio, tables.logarithms)
            folded = _code_folded(
                decoding, _fold(samples[time, audio] - nearest, above), size, edges, mixer, tables,
                spread.contexts, spread.selectors, coder, data,
            )  # fmt: skip
            value = nearest + _unfold(folded, above)
            if folded < 0 or abs(value) > np.int64(1) << bits:
                return False
            samples[time, audio] = value
            _remember(spread.means[audio], spread.last[audio], folded)
            _correct(predictor, time, audio, value << below, below)
    return True


@_compiled
def _predict(predictor, time, audio):
    """Prediction of a sample, and of all stages."""
    seen, inputs, predictions = predictor.seen, predictor.inputs, predictor.predictions
    num_audio, place = seen.shape[0], time + _LONGEST
    _take(predictor.around[audio], time, _OWN_AT, inputs, 0)
    _take(seen[audio, 0], place - OWN, OWN, inputs, _OWN_AT)
    if num_audio > 1:
        other, beside = _other(num_audio, audio, place)
        _take(seen[other, 0], beside, OTHER, inputs, _OTHER_AT)
        predictions[_STAGES + 1] = _dot(
            predictor.across[audio], seen[other, _STAGES + 1], beside, OTHER
        )
    predictions[0] = _dot(predictor.linear[audio], inputs, 0, inputs.shape[0])
    for stage in range(_STAGES):
        count = _TAPS[stage]
        predictions[1 + stage] = _dot(
            predictor.weights[audio, stage], seen[audio, 1 + stage], place - count, count
        )
    total = np.int64(1 << (SHARE_BITS - 1))
    for stage in range(_STAGES + 2):
        total += predictor.shares[audio, stage] * predictions[stage]
    total = _bounded(total >> SHARE_BITS)
    predictor.sums[audio] = total
    misses = predictor.misses[audio]
    return predictions[0] if misses[1] < misses[0] else total


@_compiled
def _correct(predictor, time, audio, target, below):
    """Takes in the sample that was predicted."""
    seen, predictions = predictor.seen, predictor.predictions
    num_audio, place = seen.shape[0], time + _LONGEST
    error = target - predictor.sums[audio]
    _share(error, predictions, predictor.shares[audio], predictor.loudness[audio])
    misses = predictor.misses[audio]
    misses[0] += ((abs(error) << 8) - misses[0]) >> 6
    misses[1] += ((abs(target - predictions[0]) << 8) - misses[1]) >> 6
    _observe(predictor.moments[audio], predictor.inputs, predictor.reals, target)
    seen[audio, 0, place] = target
    left = _bounded(target - predictions[0])
    powers = predictor.powers[audio]
    for stage in range(_STAGES):
        count = _TAPS[stage]
        history = seen[audio, 1 + stage]
        error = left - predictions[1 + stage]
        # The first filter, of the most weights, learns at half the rate of the others.
        power = (powers[stage] + (count << 2 * below)) >> min(stage, 1)
        _adapt(predictor.weights[audio, stage], history, place - count, count, error, power)
        oldest = history[place - count]
        powers[stage] += left * left - oldest * oldest
        history[place] = left
        left = _bounded(error)
    if num_audio > 1:
        other, beside = _other(num_audio, audio, place)
        history = seen[other, _STAGES + 1]
        power = np.int64(OTHER << 2 * below)
        for index in range(OTHER):
            power += history[beside + index] * history[beside + index]
        error = left - predictions[_STAGES + 1]
        _adapt(predictor.across[audio], history, beside, OTHER, error, power << 1)
    seen[audio, _STAGES + 1, place] = left


@_compiled
def _other(num_audio, audio, place):
    """The audio channel before, and where what is known of it begins."""
    # Of the same time, but for the first channel.
    if audio:
        return audio - 1, place - OTHER + 1
    return num_audio - 1, place - OTHER


@_compiled
def _take(values, start, count, inputs, place):
    for index in range(count):
        inputs[place + index] = values[start + index]


@_compiled
def _bounded(value):
    return min(max(value, -_LARGEST_INPUT), _LARGEST_INPUT)


@_compiled
def _dot(weights, values, start, count):
    """Prediction of a filter, whose weights are in units of 2^-20."""
    total = np.int64(1 << (_WEIGHT_BITS - 1))
    for index in range(count):
        total += weights[index] * values[start + index]
    return _bounded(total >> _WEIGHT_BITS)


@_compiled
def _adapt(weights, values, start, count, error, power):
    """Normalised LMS: weights += error values / (64 power), in units of 2^-20."""
    shift = 0
    while power >> (shift + _POWER_BITS):
        shift += 1
    # error / power is at most 2^62 in units of 2^-36, and so is its product with a value, whose
    # square is less than the power.
    gain = (error << 36) // ((power >> shift) + 1)
    shift += 36 - _WEIGHT_BITS + 6
    half = np.int64(1) << (shift - 1)
    for index in range(count):
        moved = weights[index] + ((gain * values[start + index] + half) >> shift)
        weights[index] = min(max(moved, -_LARGEST_WEIGHT), _LARGEST_WEIGHT)


@_compiled
def _share(error, predictions, shares, loudness):
    """Normalised LMS of the weights by which predictions are added, in units of 2^-22."""
    power = np.int64(1)
    for index in range(predictions.shape[0]):
        square = predictions[index] * predictions[index]
        loudness[index] += (square - loudness[index]) >> 9
        power += square + loudness[index]
    # A rate of 1 / 64: 2^-22 of a weight are 2^-16 of it.
    power = (power >> SHARE_BITS - 6) + 1
    for index in range(predictions.shape[0]):
        moved = shares[index] + (error * predictions[index] + (power >> 1)) // power
        shares[index] = min(max(moved, -_LARGEST_SHARE), _LARGEST_SHARE)


@_compiled
def _observe(moments, inputs, reals, target):
    """Adds a sample to the sums that least squares are solved from.

    Args:
        moments: float64 [taps + 1, taps], changed: lower triangle of the products of the inputs,
            and in the last row their products with the target.
        inputs: int64 [taps].
        reals: float64 [taps], for the inputs as floats.
        target: the sample.
    """
    taps = inputs.shape[0]
    for row in range(taps):
        reals[row] = inputs[row]
    for row in range(taps):
        value = reals[row]
        for column in range(row + 1):
            moments[row, column] += value * reals[column]
        moments[taps, row] += value * target


@_compiled
def solve(moments, noise, weights):
    """Least-squares weights by an LDL factorisation.

    In float64, one operation after the other in a fixed order: Numba neither reorders nor fuses
    them, so that IEEE 754 fixes every bit of the result (a test compares it with Python's own).

    Args:
        moments: of :func:`_observe`.
        noise: added to the diagonal.
        weights: int64 [taps], in units of 2^-20; changed, unless the sums are those of too few or
            too dependent inputs.
    """
    taps = weights.shape[0]
    lower = np.zeros((taps, taps))
    pivots = np.zeros(taps)
    found = np.zeros(taps)
    # What a float64 can tell from 0 beside the largest moment.
    largest = 0.0
    for row in range(taps):
        largest = max(largest, moments[row, row])
    noise += largest * 2.0**-40
    for row in range(taps):
        value = moments[taps, row]
        for column in range(row):
            total = moments[row, column]
            for index in range(column):
                total -= lower[row, index] * lower[column, index] * pivots[index]
            lower[row, column] = total / pivots[column]
            value -= lower[row, column] * found[column]
        total = moments[row, row] + noise
        for index in range(row):
            total -= lower[row, index] * lower[row, index] * pivots[index]
        if not total > 0.0:
            return
        pivots[row] = total
        found[row] = value
    for row in range(taps - 1, -1, -1):
        value = found[row] / pivots[row]
        for index in range(row + 1, taps):
            value -= lower[index, row] * found[index]
        if not abs(value) < 32.0:
            return
        found[row] = value
    for row in range(taps):
        weights[row] = np.int64(math.floor(found[row] * (1 << _WEIGHT_BITS) + 0.5))


@_compiled
def _forget(moments):
    """Fades sums, so that samples 128 before count as much as 0.77."""
    for row in range(moments.shape[0]):
        for column in range(moments.shape[1]):
            moments[row, column] *= _MEMORY


@_compiled
def _fold(difference, above):
    """Integers by their distance from the prediction: 0, then the side on which it lies."""
    if (difference > 0) == above:
        return max(2 * abs(difference) - 1, 0)
    return 2 * abs(difference)


@_compiled
def _unfold(folded, above):
    """The inverse of :func:`_fold`."""
    half = (folded + 1) >> 1
    return half if (folded & 1 == 1) == above else -half


@_compiled
def _remember(means, last, folded):
    """Takes in a folded value: means over about 11, 32, 128 and 512, in units of 1 / 64."""
    value = folded << 6
    means[0] += (value - means[0]) * 3 >> 5
    means[1] += (value - means[1]) >> 5
    means[2] += (value - means[2]) >> 7
    means[3] += (value - means[3]) >> 9
    last[2] = last[1]
    last[1] = last[0]
    last[0] = folded


@_compiled
def _expect_residual(spread, audio, logarithms):
    """Sets the contexts of a folded value; returns its expected size in units of 1 / 64."""
    means, last = spread.means, spread.last
    contexts, selectors = spread.contexts, spread.selectors
    mine = means[audio]
    size = (mine[0] + 2 * mine[1] + mine[2]) >> 2
    level = _log2(size, logarithms)
    # All else beside the expected size, in sixths of an octave.
    fast = _within(_log2(mine[0], logarithms) - level + 16, 32)
    slow = _within(_log2(mine[2], logarithms) - level + 16, 32)
    slowest = _within(_log2(mine[3], logarithms) - level + 16, 32)
    before = _within(_log2(last[audio, 0] << 6, logarithms) - level + 24, 48)
    second = _within(_log2(last[audio, 1] << 6, logarithms) - level + 24, 48)
    contexts[0] = fast * 32 + slow
    contexts[1] = (before >> 1) * 32 + (second >> 1)
    contexts[2] = min(level, 255) * 8 + (fast >> 2)
    contexts[3] = slowest * 64 + before
    if means.shape[0] > 1:
        other = _other(means.shape[0], audio, 0)[0]
        beside = _log2(last[other, 0] << 6, logarithms) - _log2(means[other, 1], logarithms)
        contexts[4] = _within(beside + 24, 48) * 32 + fast
    else:
        third = _within(_log2(last[audio, 2] << 6, logarithms) - level + 24, 48)
        contexts[4] = slow * 32 + (third >> 1)
    selectors[0] = min(level >> 1, 63)
    selectors[1] = fast
    selectors[2] = before
    return size


@_compiled
def _within(value, count):
    return min(max(value, 0), count - 1)


@_compiled
def _log2(value, logarithms):
    """6 log2(1 + value / 4) of numbers of any size."""
    beyond = 0
    while value >= logarithms.shape[0]:
        value >>= 6
        beyond += 36
    return logarithms[value] + beyond


@_compiled
def _code_folded(decoding, folded, size, edges, mixer, tables, contexts, selectors, coder, data):
    """Codes a folded value and returns it; -1 for one that no encoder writes.

    First which bucket of :data:`LEAVES` it is in, by bisection. Buckets scale with the expected
    size, and so about equally many values fall into each; the last one goes on in steps, each twice
    as wide as the one before. Within a bucket all values are alike.
    """
    curve = min(selectors[0] * 2, 127)
    low, high, node = 0, LEAVES, 1
    while high - low > 1:
        middle = (low + high) >> 1
        edge = (size * edges[middle]) >> 20
        # Of small sizes some buckets are empty: nothing is said where all lies on one side.
        if edge <= (size * edges[low]) >> 20:
            low, node = middle, 2 * node + 1
        elif high < LEAVES and edge >= (size * edges[high]) >> 20:
            high, node = middle, 2 * node
        else:
            chance = predict(mixer, tables, node - 1, contexts, selectors, curve)
            bit = code_bit(coder, data, decoding, 1 if folded >= edge else 0, chance)
            learn(mixer, tables, node - 1, contexts, selectors, curve, bit)
            if bit:
                low, node = middle, 2 * node + 1
            else:
                high, node = middle, 2 * node
    begin = (size * edges[low]) >> 20
    if low < LEAVES - 1:
        width = ((size * edges[low + 1]) >> 20) - begin
    else:
        width, steps = max(size >> 6, 1), 0
        while True:
            decision = min(LEAVES - 1 + steps, RESIDUAL_DECISIONS - 1)
            chance = predict(mixer, tables, decision, contexts, selectors, curve)
            bit = code_bit(coder, data, decoding, 1 if folded >= begin + width else 0, chance)
            learn(mixer, tables, decision, contexts, selectors, curve, bit)
            if not bit:
                break
            begin += width
            steps += 1
            width = 2 * width if steps > 1 else width
            if begin > _MOST_FOLDED:
                return np.int64(-1)
    return begin + _code_flat(decoding, folded - begin, width, coder, data)


@_compiled
def _code_flat(decoding, value, count, coder, data):
    """Codes a value below ``count``, all of which are alike."""
    found = np.int64(0)
    while count > 1:
        bits = 0
        while count >> (bits + 1):
            bits += 1
        rest = count - (1 << bits)
        if rest and code_bit(
            coder, data, decoding, 1 if value >= 1 << bits else 0, max((rest << 16) // count, 1)
        ):
            found, value, count = found + (1 << bits), value - (1 << bits), rest
            continue
        for shift in range(bits - 1, -1, -1):
            found += code_bit(coder, data, decoding, (value >> shift) & 1, FLAT) << shift
        break
    return found
