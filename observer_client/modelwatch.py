"""The model that is observed: its architecture, told at once and again when the first forward pass was seen."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from observer_client.architecture import architecture
from observer_client.guard import harmless, log
from observer_client.record import Architecture
from observer_client.tracing import Tracer, run_once

if TYPE_CHECKING:
    import torch


class ModelWatch:
    """Tells ``keep`` "architecture" and the architecture of a model, which it does not keep alive."""

    def __init__(self, keep: Callable[[str, Architecture], object]) -> None:
        self._keep = keep
        self._model: weakref.ref[torch.nn.Module] | None = None
        self._tracer: Tracer | None = None

    def watch(self, model: torch.nn.Module, example: Any = None) -> None:
        """Watch ``model``; with an ``example`` input its layers are run once, here and now.

        Raises TypeError when ``model`` is no torch.nn.Module.
        """
        if not hasattr(model, "named_modules") or not hasattr(model, "register_forward_hook"):
            raise TypeError(f"register_model takes a torch.nn.Module, not a {type(model).__name__}")
        self.close()
        self._model = weakref.ref(model)
        self._keep("architecture", architecture(model))
        if hasattr(model, "_orig_mod"):
            # Hooks in a compiled model would make it compile again.
            return
        self._tracer = Tracer(model, self._traced)
        if example is not None:
            self._run(model, example)

    def _run(self, model: torch.nn.Module, example: Any) -> None:
        try:
            run_once(model, example)
        except Exception as error:  # noqa: BLE001
            # The user's model in our hands: its error is told, not raised, since nobody asked for this pass.
            log.warning("mldiag: the model does not run on example_input: %s: %s", type(error).__name__, error)

    @harmless
    def _traced(self, tracer: Tracer) -> None:
        model = self._model() if self._model else None
        if model is not None:
            self._keep("architecture", tracer.complete(architecture(model)))

    def close(self) -> None:
        """Take all hooks away, handing over what a pass showed so far."""
        if self._tracer is not None:
            self._tracer.finish()
            self._tracer = None
