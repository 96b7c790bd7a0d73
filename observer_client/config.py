"""What to observe and where to send it: arguments first, then ``MLDIAG_*`` variables, then defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar
from urllib.parse import urlsplit

from observer_client.guard import log

T = TypeVar("T")

MODES = ("online", "offline", "disabled")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
PRESETS: dict[str, dict[str, bool]] = {
    "economy": {"track_profiler": False, "track_layer_health": False},
    "standard": {},
    "full": {
        "track_carbon_emissions": True,
        "track_per_class_metrics": True,
        "track_gradient_histogram": True,
        "track_attention_patterns": True,
        "track_activation_histogram": True,
    },
}
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})
_A_DAY = 86_400.0
_SECRET = frozenset({"api_key", "url"})


def setting(name: str, default: T) -> T:
    """Return a dataclass field that reads ``MLDIAG_<NAME>`` when no argument is given."""
    return field(default_factory=lambda: _from_environment(name, default))


def _from_environment(name: str, default: T) -> T:
    variable = f"MLDIAG_{name.upper()}"
    text = os.environ.get(variable)
    if text is None:
        return default
    try:
        return _parse(text.strip(), default)
    except ValueError:
        # A typo in a job script must not cost a night of training.
        log.warning("mldiag: %s=%r is not understood, using %r", variable, text, default)
        return default


def _parse(text: str, default: T) -> T:
    if isinstance(default, bool):
        if text.lower() not in _TRUE | _FALSE:
            raise ValueError(text)
        return text.lower() in _TRUE  # type: ignore[return-value]
    if isinstance(default, (int, float)):
        return type(default)(text)
    return text or None if default is None else text  # type: ignore[return-value]


def _mode() -> str:
    mode = _from_environment("mode", "online").lower()
    if mode not in MODES:
        log.warning("mldiag: MLDIAG_MODE=%r is none of %s, using online", mode, ", ".join(MODES))
        return "online"
    return mode


@dataclass(slots=True, kw_only=True)
class ObserverConfig:
    """Settings of an `Observer`.

    Every field can be set by a variable, for instance ``MLDIAG_TRACK_MEMORY=0`` or ``MLDIAG_URL=http://host:8000``.

    `preset` sets many at once.

    Raises ValueError when an argument makes no sense.
    """

    track_profiler: bool = setting("track_profiler", True)
    """Whether `Observer.should_profile` ever says yes."""
    track_layer_health: bool = setting("track_layer_health", True)
    """Gradients, weights and outputs of each layer, from a few sampled steps an epoch."""
    layer_health_every: int = setting("layer_health_every", 0)
    """Sample one step in so many. 0 says about one in 15, fewer where that would cost more than 1 % of the time."""
    track_phases: bool = setting("track_phases", True)
    """Where the time of sampled steps goes, and the scale of what goes into the model."""
    track_carbon_emissions: bool = setting("track_carbon_emissions", False)
    """Energy and CO2 by CodeCarbon, where it is installed."""
    profile_at_step: int = setting("profile_at_step", 0)
    """The step of each epoch to profile, counted from 0."""
    track_per_class_metrics: bool = setting("track_per_class_metrics", False)
    """Count the predictions of `Observer.profile_step` by class; those told to `observe_predictions` always are."""
    track_learning_rate: bool = setting("track_learning_rate", True)
    track_gradient_histogram: bool = setting("track_gradient_histogram", False)
    """How large the gradients of each layer are, once an epoch, in the bins of `record.HISTOGRAM_EDGES`."""
    track_attention_patterns: bool = setting("track_attention_patterns", False)
    """Entropy of each attention head, once an epoch: whether it looks at one key or at all alike."""
    track_activation_histogram: bool = setting("track_activation_histogram", False)
    """How large the outputs of each layer are, once an epoch, in the same bins."""
    track_memory: bool = setting("track_memory", True)
    track_system: bool = setting("track_system", True)
    capture_logs: bool = setting("capture_logs", True)
    log_level: str = setting("log_level", "WARNING")
    """Lowest level of log records to keep."""
    capture_exceptions: bool = setting("capture_exceptions", True)
    """Note uncaught exceptions; they are passed on all the same."""
    steps_per_window: int = setting("steps_per_window", 200)
    """Most buckets of the step series of one epoch, 1 to 200."""
    country: str = setting("country", "")
    """ISO 3166 code with three letters for the carbon intensity; the world's average when unknown."""

    mode: str = field(default_factory=_mode)
    """``online`` sends while training, ``offline`` only records, ``disabled`` does nothing. Of the
    processes of a distributed training rank 0 reports; the others leave a few figures for it."""
    url: str = setting("url", "http://127.0.0.1:8000")
    api_key: str | None = field(default_factory=lambda: _from_environment("api_key", None), repr=False)
    project: str | None = setting("project", None)
    """Name or number of the project, where the `Observer` is given none."""
    directory: str = field(default_factory=lambda: _from_environment("dir", "mldiag_runs"))
    """Where runs are recorded (``MLDIAG_DIR``)."""
    max_spool_mb: int = setting("max_spool_mb", 256)
    """Most MiB that a run's records may take: above it the oldest log lines go. Epochs are never dropped."""
    ranks_directory: str = setting("ranks_directory", "")
    """Where ranks leave their figures for rank 0, a folder that they share; by default one in `directory`."""
    heartbeat_seconds: float = setting("heartbeat_seconds", 15.0)
    close_seconds: float = setting("close_seconds", 10.0)
    """Longest wait of `Observer.close` for the delivery."""
    quiet: bool = setting("quiet", False)
    """Print neither the first nor the last line."""

    def __post_init__(self) -> None:
        self.mode = self.mode.lower()
        self.log_level = self.log_level.upper()
        self.url = self.url.rstrip("/")
        if self.mode not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}, not {self.mode!r}")
        if self.log_level not in LEVELS:
            raise ValueError(f"log_level is one of {', '.join(LEVELS)}, not {self.log_level!r}")
        if not _is_address(self.url):
            raise ValueError(f"url starts with http:// or https:// and names a host, not {self.url!r}")
        if self.profile_at_step < 0:
            raise ValueError(f"profile_at_step is 0 or more, not {self.profile_at_step!r}")
        if self.layer_health_every < 0:
            raise ValueError(f"layer_health_every is 0 or more, not {self.layer_health_every!r}")
        self.max_spool_mb = max(1, self.max_spool_mb)
        self.steps_per_window = max(1, min(200, self.steps_per_window))
        self.heartbeat_seconds = max(0.05, min(_A_DAY, self.heartbeat_seconds))
        self.close_seconds = max(0.0, min(_A_DAY, self.close_seconds))

    @classmethod
    def preset(cls, name: str, **settings: Any) -> ObserverConfig:
        """Return the settings called ``name``, with ``settings`` put over them.

        ``economy`` keeps losses, metrics, logs and the machine's load, ``standard`` is the default, and ``full`` adds
        everything else: histograms, attention, metrics by class and emissions.

        >>> ObserverConfig.preset("economy").track_layer_health
        False

        Raises ValueError for a name that is none, or for settings that make no sense.
        """
        if name not in PRESETS:
            raise ValueError(f"a preset is one of {', '.join(PRESETS)}, not {name!r}")
        return cls(**{**PRESETS[name], **settings})

    def public(self) -> Mapping[str, Any]:
        """Return the settings as they may be shown: without the key, the URL without user and password."""
        shown = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in _SECRET}
        return {**shown, "url": bare_url(self.url)}


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # Reading the port is what checks it.
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def bare_url(url: str) -> str:
    """Return ``url`` without user and password.

    >>> bare_url("https://alice:secret@example.org/mldiag")
    'https://example.org/mldiag'
    """
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
