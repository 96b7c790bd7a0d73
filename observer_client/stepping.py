"""A step as the training's thread takes it: one row in a list, and everything else once in many steps.

What is called at every step finds the processor's cache full of the training, so what counts is how little it touches.
Losses are read at once all the same: to read them in bundles would make the call shorter, but the training longer,
since graphs that are kept take memory that is not in the cache. ``python -m benchmarks.observer`` shows both.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from time import perf_counter
from types import MethodType
from typing import Any

from observer_client.guard import report
from observer_client.layers import LayerWatch
from observer_client.rates import RateReader
from observer_client.steps import COLLECT_AT, StepBook
from observer_client.window import snapshot, told

Take = Callable[..., None]


class Stepper:
    """Does for the steps in ``book`` what is due now and then: has ``layers`` sampled, follows the rate, collects."""

    def __init__(self, book: StepBook, layers: LayerWatch, rates: RateReader) -> None:
        self.is_open = False
        self._book, self._layers, self._rates = book, layers, rates
        self._counted = 0
        """Steps that ``layers`` knows of."""
        layers.catch_up = self.catch_up

    def close(self) -> None:
        """Take no more steps."""
        self.is_open, self._book.due = False, 0

    def catch_up(self) -> None:
        """Tell the layers of the steps since the last call; they may want to be called earlier than was planned."""
        total = self._book.total
        self._layers.left -= total - self._counted
        self._counted = total
        self._book.due = 0

    def work(self, loss: Any) -> None:
        """Do what is due after a step with that ``loss``."""
        book = self._book
        with book.lock:
            if not self.is_open:
                book.fresh.clear()
            if not book.fresh:
                # Another thread was quicker.
                return
            self.catch_up()
            if self._layers.left < 0:
                self._sample(loss)
            self._rates.follow()
            if len(book.fresh) >= COLLECT_AT:
                book.collect()
            book.due = min(len(book.fresh) + self._layers.left + 1, COLLECT_AT)

    def _sample(self, loss: Any) -> None:
        measured = self._layers.turn(self._book.fresh[-1][0], loss)
        self._book.late = perf_counter()
        if measured is not None:
            self._book.note_norm(snapshot(measured))

    def tell(
        self,
        now: float,
        loss: Any,
        batch_size: Any,
        *,
        grad_norm: Any = None,
        lr: Any = None,
        clipped: Any = None,
        **extra: Any,
    ) -> None:
        """Take a step of which more is told than loss and batch size.

        Raises TypeError for what no step records; the step is kept.
        """
        with self._book.lock:
            self._book.read()
            rate = self._rates.groups[0]["lr"] if lr is None else None
            self._book.fresh.append((now, snapshot(loss), batch_size, told("grad_norm", grad_norm), rate, clipped))
            self._book.read()
            if lr is not None:
                self._book.note_rate(told("lr", lr))
            self.work(loss)
        if extra:
            raise TypeError(f"step records no {', '.join(extra)}; give epoch metrics to flush")


class Elsewhere:
    """What a pickled `Observer.step` belongs to: in another process it records nothing."""

    def step(self, *arguments: Any, **more: Any) -> None:
        """Do nothing."""


def silent(*arguments: Any, **more: Any) -> None:
    """Take the steps of an Observer that is disabled."""


def taker(stepper: Stepper, book: StepBook, rates: RateReader, like: Take) -> Take:
    """Return what `Observer.step` does, as a function of its own: that spares a call and every look into ``self``.

    It is signed and documented ``like`` that.
    """
    fresh, append, work, tell, clock = book.fresh, book.fresh.append, stepper.work, stepper.tell, perf_counter

    # Defaults of keyword-only arguments are looked up at each call, so these all come in ``more``.
    def step(
        here: object, step: int | None = None, loss: Any = None, batch_size: int | None = None, **more: Any
    ) -> None:
        try:
            if more:
                tell(clock(), loss, batch_size, **more)
                return
            now = clock()
            try:
                # Read at once: to keep the tensor would be to keep its graph, and `detach` takes longer than `item`.
                value = loss if type(loss) is float else loss.item() if loss.is_cpu else snapshot(loss)
            except (AttributeError, RuntimeError):
                value = snapshot(loss)
            append((now, value, batch_size, None, rates.groups[0]["lr"], None))
            if len(fresh) >= book.due:
                work(loss)
        except Exception as error:  # noqa: BLE001
            # The guard is written out: this runs at every step.
            report("Observer.step", error)

    # A method, since a function could not be pickled with what holds it: a model, say, or a worker's arguments.
    return MethodType(update_wrapper(step, like), Elsewhere())
