"""What the commands agree on."""

from __future__ import annotations

USAGE_ERROR = 2
"""Exit code for wrong usage, and for a file that could not be read."""
PROFILES = ("robust", "guide")
FORMATS = ("text", "json", "github")
FAIL_ON = ("critical", "warning", "info", "never")
"""The gravest first: a choice includes what stands before it."""
