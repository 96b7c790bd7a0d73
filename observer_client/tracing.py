"""The order in which a model's layers run and the shapes they pass on, seen in one forward pass.

Temporary forward hooks watch the first real pass of the training (or one over an example input) and remove
themselves. They never touch a tensor's values, so in-place layers and any mode of autograd are fine.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from observer_client.architecture import ROOT, layers_of
from observer_client.guard import harmless
from observer_client.hooks import Hook, is_compiling, tensors
from observer_client.record import Architecture

if TYPE_CHECKING:
    import torch

LONGEST_PATH = 20_000


class Tracer:
    """Watches one forward pass of ``model``, then calls ``done`` once. Does not keep the model alive."""

    def __init__(self, model: torch.nn.Module, done: Callable[[Tracer], object]) -> None:
        self.path: list[str] = []
        self.edges: dict[tuple[str, str], None] = {}
        self.shapes: dict[str, tuple[list[int] | None, list[int] | None]] = {}
        self.input_shape: list[int] | None = None
        self._done: Callable[[Tracer], object] | None = done
        self._makers: dict[int, tuple[weakref.ref[Any], str]] = {}
        self._handles: list[Any] = []
        for name, layer in layers_of(model):
            if layer is not model or name == ROOT and not any(True for _ in model.children()):
                self._handles.append(layer.register_forward_hook(Hook(self._layer_hook(name))))
        self._handles.append(model.register_forward_hook(Hook(self._model_hook)))

    def _layer_hook(self, name: str) -> Callable[..., None]:
        @harmless
        def ran(module: object, inputs: Any, output: Any) -> None:
            if not is_compiling() and len(self.path) < LONGEST_PATH:
                self._note(name, inputs, output)

        return ran

    def _note(self, name: str, inputs: Any, output: Any) -> None:
        given = tensors(inputs)
        made = tensors(output)
        sources = [self._maker_of(each) for each in given]
        # A functional call between two layers hides the source: then it is the layer that ran before.
        known = [each for each in sources if each] or self.path[-1:]
        self.edges.update({(each, name): None for each in known})
        self.path.append(name)
        self.shapes.setdefault(name, (_shape(given), _shape(made)))
        for each in made:
            self._makers[id(each)] = weakref.ref(each), name

    def _maker_of(self, tensor: Any) -> str | None:
        reference, name = self._makers.get(id(tensor), (None, None))
        # An id is used again once its tensor is gone.
        return name if reference is not None and reference() is tensor else None

    @harmless
    def _model_hook(self, module: object, inputs: Any, output: Any) -> None:
        if is_compiling():
            return
        self.input_shape = _shape(tensors(inputs))
        self.finish()

    def finish(self) -> None:
        """Take the hooks away and hand over what was seen, if anything."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._makers.clear()
        done, self._done = self._done, None
        if done is not None and self.path:
            done(self)

    def complete(self, architecture: Architecture) -> Architecture:
        """Fill in path, edges and shapes."""
        graph = architecture.layer_graph
        if graph is not None:
            graph.sequential_path, graph.edges = self.path, [list(edge) for edge in self.edges]
            for node in graph.nodes:
                node.input_shape, node.output_shape = self.shapes.get(node.id, (None, None))
        architecture.input_shape = self.input_shape
        return architecture


def run_once(model: torch.nn.Module, example: Any) -> None:
    """Run ``model`` on an example input without leaving a trace: no gradients, modes and random numbers as before.

    Raises what the model raises.
    """
    import torch  # The model is torch's, so it is there.

    modes = [(module, module.training) for module in model.modules()]
    on_cuda = torch.cuda.is_initialized()
    try:
        model.eval()
        with torch.random.fork_rng(devices=None if on_cuda else []), torch.no_grad():
            model(*example) if isinstance(example, tuple) else model(example)
    finally:
        for module, training in modes:
            module.training = training


def _shape(found: list[Any]) -> list[int] | None:
    return [int(each) for each in found[0].shape] if found else None
