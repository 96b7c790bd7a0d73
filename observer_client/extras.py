"""What is collected of the layers on request, once a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from observer_client.activations import ActivationTap
from observer_client.attention import AttentionTap, fill_entropies
from observer_client.histograms import as_lists, gradient_counts
from observer_client.layout import Bank
from observer_client.record import LayerHealth

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Extras:
    """What was asked for."""

    gradient_histograms: bool = False
    activation_histograms: bool = False
    attention: bool = False


class ExtraWatch:
    """Collects what was asked for in the first sampled step of a window that shows it."""

    def __init__(self, wanted: Extras) -> None:
        self._wanted = wanted
        self.begin()

    def begin(self) -> None:
        """Begin a window."""
        self._gradients: dict[str, Any] = {}
        self._activations: dict[str, Any] = {}
        self._entropies: dict[str, Any] = {}

    def attention(self, model: torch.nn.Module) -> AttentionTap | None:
        """Return a tap in the attention of ``model``, None when there is no need for one."""
        return AttentionTap(model) if self._wanted.attention and not self._entropies else None

    def take_gradients(self, banks: Sequence[Bank], optimizer: torch.optim.Optimizer) -> None:
        """Count the gradients that ``optimizer`` is about to step with."""
        if self._wanted.gradient_histograms:
            self._gradients |= gradient_counts(banks, optimizer)

    def take_pass(self, activations: ActivationTap | None, attention: AttentionTap | None) -> None:
        """Take what a sampled pass left."""
        if attention is not None:
            self._entropies = attention.entropies
        if activations is not None and self._wanted.activation_histograms and not self._activations:
            self._activations = activations.histograms()

    def fill(self, health: LayerHealth) -> None:
        """Write it all to ``health``. Waits for the devices."""
        fill_entropies(health.layers, self._entropies)
        health.gradient_histograms = as_lists(self._gradients)
        health.activation_histograms = as_lists(self._activations)
