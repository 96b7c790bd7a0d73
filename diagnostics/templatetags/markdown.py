"""Markdown of ours on a page: the documentation of checks."""

from __future__ import annotations

import re
from functools import cache

from django import template
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

from diagnostics.engine import Check

register = template.Library()

_DOCUMENT = re.compile(r"\]\((?:\.\./|checks/)?([\w-]+)\.md\)")
"""A link between the documentation's files; its pages here have other addresses."""


@register.filter
@cache
def markdown(text: str) -> SafeString:
    """Render Markdown; markup in it stays text."""
    text = _DOCUMENT.sub(lambda found: f"]({'/' if found[1] == 'thresholds' else '/checks/'}{found[1]})", text)
    # Without "html" the renderer escapes markup, and it refuses javascript: links itself.
    rendered = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    # What is too wide scrolls, by keyboard, too.
    return mark_safe(re.sub("<(pre|table)>", r'<\1 tabindex="0">', rendered))


def section(check: Check, heading: str) -> str:
    """Return what a check's documentation says under a heading, as Markdown; empty if it has none."""
    _, _, rest = check.doc.partition(f"## {heading}\n")
    return rest.partition("\n## ")[0].strip()
