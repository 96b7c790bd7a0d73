"""Differences in words: how much more or less than in the session that others are compared with."""

from __future__ import annotations

from django import template
from django.utils.html import format_html

from diagnostics.templatetags.figures import figure

register = template.Library()


@register.simple_tag
def change(value: float | None, base: float | None) -> str:
    """Write a difference with its sign, nothing where one of the two is unknown."""
    if value is None or base is None:
        return ""
    return _marked("±0" if value == base else f"{'+' if value > base else '−'}{figure(abs(value - base))}")


@register.simple_tag
def change_percent(value: float | None, base: float | None) -> str:
    """Write a difference as a share of ``base``."""
    if value is None or not base:
        return ""
    percent = 100 * (value - base) / base
    return _marked("±0 %" if round(percent) == 0 else f"{'+' if percent > 0 else '−'}{abs(percent):.0f} %")


def _marked(text: str) -> str:
    return format_html('<span class="change">{}</span>', text)
