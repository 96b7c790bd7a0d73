"""From what sampled steps left on the devices to the health of each layer."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from observer_client.figures import FIGURES, Group
from observer_client.gradients import Reading, weights_of
from observer_client.layout import Bank, Layer
from observer_client.moments import moments
from observer_client.record import LayerCorrelation, LayerHealth, LayerStats

if TYPE_CHECKING:
    import torch

MOST = 32
"""Samples that are kept of one window; of a longer one every second, fourth, ..."""

VANISHING = 1e-7
"""Gradient norm below which a layer learns nothing (guide, section 6.7)."""
DEAD_WEIGHTS = 0.9
"""Share of near-zero weights above which a layer whose output never changes is dead (guide, section 6.6)."""
FROZEN = 1e-10
"""Variance over samples, in units of the mean square, that rounding leaves of equal outputs."""
LOW_VARIANCE = 1e-6
"""Variance over samples, in units of the mean square, below which outputs hardly tell samples apart."""


class Samples:
    """The samples of one window; on their devices until `health` reads them, at once."""

    def __init__(self, *, of_the_start: bool) -> None:
        self._of_the_start = of_the_start
        self.stride = 1
        """By how much samples are to be rarer, since there are many already."""
        self.count = 0
        self.full = 0
        """Samples with outputs of layers among ``count``."""
        self.varies: dict[str, torch.Tensor] = {}
        self._samples: list[tuple[list[Reading], list[Group]]] = []
        self._numbers: list[int] = []
        self._with_gradient: set[str] = set()
        self._peaks: dict[int, tuple[Bank, Any]] = {}

    def add(self, readings: list[Reading], groups: list[Group], step: int) -> None:
        """Add a sampled step, whose number since the start of training is ``step``."""
        self.count += 1
        self.full += bool(groups)
        self._samples.append((readings, groups))
        self._numbers.append(step)
        for each in readings:
            self._with_gradient |= each.seen
        if len(self._samples) > MOST:
            for dropped, _ in self._samples[1::2]:
                self._remember_peaks(dropped)
            self._samples, self._numbers = self._samples[::2], self._numbers[::2]
            self.stride *= 2

    def _remember_peaks(self, readings: Iterable[Reading]) -> None:
        for each in readings:
            if not each.scaled:
                _, peak = self._peaks.get(id(each.bank), (each.bank, each.gradients))
                # Of a NaN and a number this returns the NaN.
                self._peaks[id(each.bank)] = each.bank, peak.maximum(each.gradients)

    def health(self, layers: Sequence[Layer], banks: Sequence[Bank]) -> LayerHealth | None:
        """Return the health of ``layers``, None when no step was sampled. Waits for each device once."""
        if not self._samples:
            return None
        found = LayerHealth(layers={each.name: LayerStats(trainable=each.trainable) for each in layers})
        reader = _Reader()
        weights = [(bank, *weights_of(bank)) for bank in banks]
        for _, norms, shares in weights:
            reader.ask(norms, *(share for pairs in shares.values() for share, _ in pairs))
        for readings, groups in self._samples:
            for each in readings:
                reader.ask(each.gradients, *([] if each.updates is None else [each.updates]))
            for group in groups:
                reader.ask(group.figures, *([] if group.correlations is None else [group.correlations]))
        reader.ask(*self.varies.values(), *(peak for _, peak in self._peaks.values()))
        reader.read()
        for bank, norms, shares in weights:
            _fill_weights(found.layers, bank, reader.take(norms), shares, reader)
        self._fill_gradients(found.layers, reader)
        self._fill_holders(found.layers)
        self._fill_activations(found, reader)
        # The very first step alone says nothing: below a last layer that begins at zero no gradient flows yet.
        if self.count > 1 or not self._of_the_start:
            _flag_gradients(found.layers)
        _flag_dead(found.layers)
        return found

    def _fill_gradients(self, layers: dict[str, LayerStats], reader: _Reader) -> None:
        norms: dict[str, list[float]] = {}
        for step, (readings, _) in zip(self._numbers, self._samples, strict=True):
            for each in readings:
                for name, norm in zip(each.bank.names, reader.take(each.gradients), strict=True):
                    if name in each.seen and (math.isfinite(norm) or not each.scaled):
                        norms.setdefault(name, []).append(norm)
                        if not math.isfinite(norm) and layers[name].first_non_finite_step is None:
                            layers[name].first_non_finite_step = step
                if each.updates is not None:
                    for name, ratio in zip(each.bank.names, reader.take(each.updates), strict=True):
                        if name in each.updated and not (math.isnan(ratio) or ratio == math.inf):
                            layers[name].update_ratio = ratio
        peaks: dict[str, float] = {}
        for bank, peak in self._peaks.values():
            peaks.update(zip(bank.names, reader.take(peak), strict=True))
        for name, values in norms.items():
            stats, total = layers[name], moments(values, range(len(values)))
            peak_norm = peaks.get(name, 0.0)
            stats.gradient_norm_mean, stats.gradient_norm_std = total.mean, total.std
            stats.gradient_norm_max = peak_norm if math.isnan(peak_norm) else max(total.high, peak_norm)
            stats.non_finite_gradients = total.non_finite + (not math.isfinite(peak_norm))

    def _fill_holders(self, layers: dict[str, LayerStats]) -> None:
        readings = [each for found, _ in self._samples for each in found]
        if not readings:
            return
        held = {name for each in readings for name in each.held}
        for name, stats in layers.items():
            if stats.trainable:
                stats.optimized = name in held
                if name in held:
                    stats.no_gradient = name not in self._with_gradient

    @property
    def still(self) -> set[str]:
        """Layers that an optimizer steps with a learning rate of zero."""
        return {name for found, _ in self._samples for each in found for name in each.still}

    def _fill_activations(self, found: LayerHealth, reader: _Reader) -> None:
        rows: dict[str, list[dict[str, float]]] = {}
        for _, groups in self._samples:
            for group in groups:
                numbers = iter(reader.take(group.figures))
                for name in group.names:
                    row = {figure: next(numbers) for figure in FIGURES}
                    rows.setdefault(name, []).append(_known(row, group))
                if group.correlations is not None:
                    _fill_correlations(found, group, reader.take(group.correlations))
        varied = {name: bool(reader.take(each)[0]) for name, each in self.varies.items()}
        for name, each in rows.items():
            _fill_outputs(found.layers[name], each, varied.get(name, False))


class _Reader:
    """Brings many tensors to the host, with one transfer a device."""

    def __init__(self) -> None:
        self._asked: dict[Any, list[Any]] = {}
        self._numbers: dict[int, list[float]] = {}

    def ask(self, *tensors: torch.Tensor) -> None:
        for each in tensors:
            self._asked.setdefault(each.device, []).append(each)

    def read(self) -> None:
        import torch  # Tensors are asked for, so it is there.

        for tensors in self._asked.values():
            flat = torch.cat([each.reshape(-1).float() for each in tensors]).tolist()
            at = 0
            for each in tensors:
                self._numbers[id(each)] = flat[at : at + each.numel()]
                at += each.numel()

    def take(self, tensor: torch.Tensor) -> list[float]:
        return self._numbers[id(tensor)]


def _known(row: dict[str, float], group: Group) -> dict[str, float]:
    """Return the figures that say something: of one sample there is no variance over samples, for instance."""
    if group.samples < 2:
        row = {name: row[name] for name in row if name not in ("var_of_means", "spread", "dead_units")}
    if not group.bounded:
        row.pop("saturation")
    if not group.compared:
        row.pop("change")
    return row


def _fill_weights(
    layers: dict[str, LayerStats], bank: Bank, norms: list[float], shares: dict[str, list[Any]], reader: _Reader
) -> None:
    for name, norm in zip(bank.names, norms, strict=True):
        layers[name].weight_norm = norm
    for name, pairs in shares.items():
        near_zero = sum(reader.take(share)[0] * size for share, size in pairs)
        layers[name].weight_sparsity = near_zero / sum(size for _, size in pairs)


def _fill_outputs(stats: LayerStats, rows: list[dict[str, float]], input_varied: bool) -> None:
    def mean(figure: str) -> float | None:
        values = [row[figure] for row in rows if figure in row]
        return sum(values) / len(values) if values else None

    stats.activation_mean, stats.activation_variance = mean("mean"), mean("variance")
    stats.activation_var_of_means = mean("var_of_means")
    stats.activation_zero_share = mean("zero_share")
    stats.activation_dead_units = mean("dead_units")
    stats.activation_saturation = mean("saturation")
    stats.output_change = mean("change")
    # A change is known from the second sample of a run on: the first step alone says nothing, as with gradients.
    if input_varied and all("spread" in row for row in rows) and any("change" in row for row in rows):
        stats.has_frozen_output = all(_varies_less(row, FROZEN) for row in rows)
        stats.has_low_activation_variance = all(_varies_less(row, LOW_VARIANCE) for row in rows)


def _varies_less(row: dict[str, float], limit: float) -> bool:
    # An output of zeros has neither variance nor size.
    return row["spread"] <= limit * (row["variance"] + row["mean"] * row["mean"])


def _fill_correlations(found: LayerHealth, group: Group, values: list[float]) -> None:
    wanted = set(group.pairs)
    for a, b, value in zip(group.names, group.names[1:], values, strict=False):
        # An output that is the same everywhere correlates with nothing.
        if (a, b) in wanted and math.isfinite(value):
            found.correlations.append(LayerCorrelation(layer_a=a, layer_b=b, correlation=max(-1.0, min(1.0, value))))


def _flag_gradients(layers: dict[str, LayerStats]) -> None:
    norms = [each.gradient_norm_mean for each in layers.values() if each.gradient_norm_mean is not None]
    # Where no layer has a gradient any more, there is nothing left to learn.
    flowing = any(norm >= VANISHING for norm in norms)
    for each in layers.values():
        if each.gradient_norm_mean is not None and each.trainable:
            each.has_vanishing_gradients = flowing and each.gradient_norm_mean < VANISHING


def _flag_dead(layers: dict[str, LayerStats]) -> None:
    for each in layers.values():
        if each.has_frozen_output is not None and each.weight_sparsity is not None:
            each.is_dead = each.has_frozen_output and each.weight_sparsity > DEAD_WEIGHTS


def fill_changes(
    layers: dict[str, LayerStats], changes: Sequence[tuple[Bank, torch.Tensor, set[str]]], still: Collection[str]
) -> None:
    """Write what `updates.Fingerprints` found, but for layers that are ``still`` on purpose. Waits for the devices."""
    for bank, counts, known in changes:
        for name, count in zip(bank.names, counts.tolist(), strict=True):
            if name in known and name not in still:
                layers[name].unchanged = count == 0
