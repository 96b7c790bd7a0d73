"""Classes of errors that end or disturb trainings, told by what their messages say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from observer_client.record import LogLine

_LONG = 20_000


@dataclass(frozen=True, slots=True)
class ErrorClass:
    """``grave`` errors end a run. A ``cascade`` is the echo of another error, as a rule one on another rank."""

    name: str
    pattern: re.Pattern[str]
    advice: str | None
    grave: bool = True
    cascade: bool = False


def _class(name: str, pattern: str, advice: str) -> ErrorClass:
    return ErrorClass(name, re.compile(pattern, re.IGNORECASE), advice)


def _echo(name: str, pattern: str, advice: str) -> ErrorClass:
    return ErrorClass(name, re.compile(pattern, re.IGNORECASE), advice, cascade=True)


def _mild(name: str, pattern: str, advice: str) -> ErrorClass:
    return ErrorClass(name, re.compile(pattern, re.IGNORECASE), advice, grave=False)


_INDEX = "An index is out of range, most often a label or a token: check both against the sizes of head and embedding."
_LOADER = "Run the loader with num_workers=0 to see the sample that breaks it."
_RAISED = re.compile(r"^[\w.]*(?:Error|Exception|Interrupt|Exit|Warning)\b", re.MULTILINE)

OTHER = ErrorClass("other", re.compile(""), None, grave=False)

CLASSES = (
    _class(
        "GPU out of memory",
        r"(cuda|hip|gpu|mps|xpu|cublas|cudnn).{0,80}(out of memory|alloc_failed|not_enough_memory)"
        r"|(?<!cpu)outofmemoryerror|cuda_error_out_of_memory",
        "Make the batch smaller, accumulate gradients, or use mixed precision or gradient checkpointing.",
    ),
    _class(
        "out of memory",
        r"out of memory|cannot allocate memory|can't allocate memory|not enough memory|memoryerror|oom[- ]?kill"
        r"|std::bad_alloc|errno 12\b|unable to allocate",
        "The machine's memory is full: load less at once, use fewer loader workers, and look for a leak.",
    ),
    _class(
        "disk full",
        r"no space left on device|disk quota exceeded|errno (28|122)\b|disk (is )?full|file write failed"
        r"|unexpected pos \d+ vs \d+|iostream error|pytorchstreamwriter failed",
        "Free space or write checkpoints elsewhere, and keep only the last few of them.",
    ),
    _class(
        "permission",
        r"permission ?denied|permissionerror|errno 13\b|read-only file system|errno 30\b|operation not permitted",
        "The program may not read or write there: choose a folder of its own, and look who owns the files.",
    ),
    _class(
        "GPU hardware",
        r"\bxid\b|uncorrectable ecc|ecc error|cudaerrorecc|fallen off the bus|nvlink error|row remap"
        r"|hardware stack error",
        "The GPU itself failed: restart the run on another device, and have this one checked.",
    ),
    _class(
        "device-side assert",
        r"device-side assert|cudaerrorassert|indexing\.cu|loss\.cu",
        _INDEX,
    ),
    _class(
        "index out of range",
        r"index out of range in self|target -?\d+ is out of bounds|index -?\d+ is out of bounds",
        _INDEX,
    ),
    _class(
        "checkpoint mismatch",
        r"error\(s\) in loading state_dict|missing key\(s\) in state_dict|unexpected key\(s\) in state_dict"
        r"|doesn't match the size of optimizer's group|loaded state dict (has|contains)|pytorchstreamreader failed"
        r"|invalid magic number|weights only load failed",
        "The checkpoint is of another model or broken: compare its names and sizes with those of the model.",
    ),
    _class(
        "shape mismatch",
        r"shapes cannot be multiplied|size mismatch|must match the size of tensor|shape.{0,60}is invalid for input"
        r"|expected input batch_size|channels, but got|running_mean should contain|stack expects each tensor"
        r"|sizes of tensors must match|expected \d+d .{0,60}input|not broadcastable|could not be broadcast"
        r"|input\.size\(-1\) must be equal|normalized_shape",
        "Print the shapes where the message points, and give the layer the size that arrives.",
    ),
    _echo(
        "NCCL or distributed",
        r"nccl|processgroup|c10d|torch\.distributed|torchelastic|gloo|rendezvous|connection (closed|reset) by peer"
        r"|childfailederror|broken pipe|sigabrt|collective operation timeout",
        "A distributed error is often the echo of another rank's: look at the earliest error of every rank.",
    ),
    _class(
        "preemption or time limit",
        r"preempt|time ?limit|timed out waiting for slurm|sigterm|signalexception"
        r"|spot (instance )?(interrupt|terminat)|due to time|node failure|due to node",
        "Save checkpoints more often than the machine is taken away, and resume from the last one.",
    ),
    _class(
        "CUDA",
        r"\bcuda|cudnn|cublas|cusolver|\bhip error|illegal memory access|unspecified launch failure",
        "Run again with CUDA_LAUNCH_BLOCKING=1 to see which operation failed, and check that driver and CUDA fit.",
    ),
    _echo(
        "data loader worker",
        r"data ?loader worker.{0,80}(exited|killed|died|is killed|timed out)|worker .{0,40}(exited|killed|died)"
        r"|bus error.{0,80}shm|insufficient shared memory",
        "A worker process died, most often of memory: give it more shared memory, or use fewer workers.",
    ),
    _class("data loader", r"caught \w+ in data ?loader worker process", _LOADER),
    _mild("data loader", r"data ?loader|shared memory|\bshm\b|collate|cannot identify image|truncated", _LOADER),
    _mild(
        "NaN or infinity",
        r"\bnan\b|\binf\b|non-?finite|not finite|overflow|invalid values|returned nan values",
        "Lower the learning rate, clip the gradients, and check the data for missing values.",
    ),
    _class(
        "crash",
        r"traceback \(most recent call last\)|uncaught|unhandled|segmentation fault|core dumped|\bkilled\b|aborted"
        r"|^\s*\w*(Error|Exception)\b",
        "The program died of it: the last lines of the traceback name the place.",
    ),
)
"""In order of precedence: an out-of-memory error on a GPU also speaks of CUDA, and a loader's dead worker died of
something."""

NAMES = tuple(dict.fromkeys(each.name for each in CLASSES))


def class_of(message: str) -> ErrorClass:
    """Return the class of an error by its message."""
    # A traceback may be long; what failed stands at its beginning and at its end.
    text = message if len(message) < _LONG else message[: _LONG // 2] + message[-_LONG // 2 :]
    raised = list(_RAISED.finditer(text))
    if raised and "Traceback (most recent call last)" in text:
        # Files and lines of a traceback speak of much that did not fail; what was raised last says what did.
        told = _first(text[raised[-1].start() :])
        whole = _first(text) if told.name in ("crash", "other") else told
        return whole if whole.name == "data loader" else told
    return _first(text)


def _first(text: str) -> ErrorClass:
    return next((each for each in CLASSES if each.pattern.search(text)), OTHER)


def root_of(errors: Sequence[LogLine], classes: Sequence[ErrorClass]) -> int:
    """Return which of ``errors`` is the root: the first grave one that is no echo, else the first grave one."""
    own = [place for place, each in enumerate(classes) if each.grave and not each.cascade]
    grave = [place for place, each in enumerate(classes) if each.grave]
    if own and classes[own[0]].name == "crash":
        # A bare traceback says less than an error that has a name.
        own = [place for place in own if classes[place].name != "crash"] or own
    return next(iter(own or grave), 0)
