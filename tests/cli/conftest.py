from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mldiag.cli import main
from observer_client import Observer, ObserverConfig

RUNS = Path(__file__).parent / "runs"


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """The output as if lines were endless."""
        return " ".join(self.out.split())


def epoch(number, loss, **more):
    return {"epoch": number, "loss": {"train_mean": loss}, **more}


HEALTHY = [epoch(i, 2.0 * 0.7**i) for i in range(6)]
CRITICAL = [epoch(0, 0.5), epoch(1, 1.5)]
WARNING = [epoch(0, 2.5), epoch(1, 2.7), epoch(2, 3.0)]
INFO = [epoch(i, 2.0 * 0.7**i, system={"cpu_percent": 99.0}) for i in range(6)]


@pytest.fixture
def cli(capsys, monkeypatch) -> Callable[..., Outcome]:
    """Runs a command in this process, 80 columns wide."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def run(*words: object) -> Outcome:
        try:
            code = main([str(word) for word in words])
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        said = capsys.readouterr()
        return Outcome(code, said.out, said.err)

    return run


@pytest.fixture
def written(tmp_path) -> Callable[..., Path]:
    """Writes bytes, text or anything that JSON can carry into a file."""

    def write(content: object, name: str = "run.json") -> Path:
        path = tmp_path / name
        if not isinstance(content, (bytes, str)):
            content = json.dumps(content)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def recorded(tmp_path) -> Callable[..., Path]:
    """Records a run with the real client and returns its folder; the export lies beside it."""

    def record(losses: Sequence[float], name: str = "a run") -> Path:
        # What depends on the machine would make findings of its own.
        config = ObserverConfig(
            mode="offline", directory=str(tmp_path / "runs"), quiet=True, track_memory=False, track_system=False
        )
        observer = Observer(config=config, run_name=name)
        for loss in losses:
            observer.step(0, loss, batch_size=8)
            observer.flush(val_metrics={"val_loss": loss})
        observer.export(str(tmp_path / "export.json"))
        observer.close()
        return observer.folder

    return record
