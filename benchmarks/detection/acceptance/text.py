"""Text that every Python brings along: its own language reference."""

from __future__ import annotations

import re
from functools import cache
from pydoc_data.topics import topics

import torch
from torch import Tensor

LETTERS = " abcdefghijklmnopqrstuvwxyz.,'"
"""What is left of the text; the place in it is a symbol's number."""


@cache
def reference(topic: str) -> str:
    """Return the text of a topic in small letters, points, commas and quotes."""
    return re.sub(r"[^a-z.,']+", " ", topics[topic].lower()).strip()


def encoded(text: str) -> Tensor:
    return torch.tensor([LETTERS.index(each) for each in text])


def passages(topic: str, samples: int, length: int, generator: torch.Generator) -> Tensor:
    """Return passages from random places, samples x length."""
    codes = encoded(reference(topic))
    starts = torch.randint(len(codes) - length, (samples,), generator=generator)
    return codes[starts[:, None] + torch.arange(length)]
