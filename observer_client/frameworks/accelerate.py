"""Accelerate: ``Accelerator(log_with=ObserverTracker(project="Digits"))``, then ``init_trackers`` as always."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from observer_client.frameworks.fits import Fits, missing
from observer_client.frameworks.metrics import LoggedRuns
from observer_client.guard import harmless
from observer_client.observer import Observer

try:
    from accelerate import PartialState
    from accelerate.tracking import GeneralTracker
except ImportError as error:
    raise missing("accelerate", "accelerate") from error


class ObserverTracker(Fits, GeneralTracker):
    """Records what ``accelerator.log`` is given, in the main process.

    Accelerate passes on nothing else. What the checks of layers and gradients need is told once, where the model is
    at hand: ``accelerator.get_tracker("mldiag", unwrap=True).register_model(model, optimizer)``.

    A training loss is a step, and metrics of a validation or another ``epoch`` end an epoch: see
    `observer_client.frameworks.metrics.LoggedSteps`. ``accelerator.end_training()`` ends the run. It is not reached
    after an exception: one that nobody catches is recorded all the same, for others use the tracker as a context
    manager. Also to be had by name: ``register_tracker_class(ObserverTracker)``, then ``log_with="mldiag"``.
    """

    name = "mldiag"
    requires_logging_directory = False

    def __init__(self, project: str | None = None, **arguments: Any) -> None:
        # Accelerate makes a registered tracker with the name of the project alone.
        super().__init__(project=project, **arguments)
        self._logged = LoggedRuns()

    @property
    def tracker(self) -> Observer:
        """The Observer."""
        return self.observer

    @harmless
    def start(self) -> None:
        """Open the run."""
        self._begin_fit(0 if PartialState().is_main_process else 1)

    @harmless
    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """Record hyperparameters."""
        self.observer.log_hyperparameters(values)

    @harmless
    def log(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Record what was logged at once."""
        self._logged.of(self.observer).take(values)

    @harmless
    def finish(self) -> None:
        """End the run."""
        self._logged.of(self.observer).flush()
        self._end_fit()
