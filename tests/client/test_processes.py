"""Processes that die, fork, spawn and exit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from observer_client.runfolder import entries
from observer_client.sync import sync
from tests.client.conftest import wait_until
from tests.client.server import IngestServer

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.processes

BEGIN = """
import os, sys, threading, time
from observer_client import Observer
"""


@pytest.fixture
def run(tmp_path):
    """``run(code)`` runs a script in a process of its own and returns what became of it."""

    def start(code, *, wait=True, **settings):
        script = tmp_path / "train.py"
        script.write_text(textwrap.dedent(BEGIN) + textwrap.dedent(code))
        variables = {f"MLDIAG_{name.upper()}": str(value) for name, value in settings.items()}
        variables = {"MLDIAG_DIR": str(tmp_path / "runs"), "PYTHONPATH": str(ROOT), **variables}
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-u", str(script)],
            env={**os.environ, **variables},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if wait:
            process.out, process.err = process.communicate(timeout=120)
        return process

    return start


def recorded(tmp_path, kind=None):
    (folder,) = (tmp_path / "runs").iterdir()
    return [entry.data for entry in entries(folder / "records.jsonl") if kind in (None, entry.kind)]


def test_sigkill_loses_at_most_the_last_record(run, tmp_path, server):
    process = run(
        """
        with Observer(run_name="killed") as observer:
            for epoch in range(10_000):
                observer.step(0, 1.0)
                observer.flush()
                print(epoch, flush=True)
        """,
        wait=False,
        mode="offline",
    )
    flushed = [process.stdout.readline() for _ in range(50)]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(recorded(tmp_path, "epoch")) >= len(flushed)
    assert sync(tmp_path / "runs", server.url).complete
    assert sorted(server.session.epochs)[:50] == [(epoch, 0) for epoch in range(50)]
    assert server.session.ending["status"] == "killed"


def test_an_uncaught_exception_is_recorded_and_printed_as_ever(run, tmp_path):
    process = run("observer = Observer()\nraise ValueError('no such label')", mode="offline")
    assert process.returncode == 1
    assert process.err.count("ValueError: no such label") == 1
    assert recorded(tmp_path, "ending")[0]["status"] == "crashed"
    assert "ValueError: no such label" in recorded(tmp_path, "log")[0]["msg"]


@pytest.mark.parametrize(
    ("last", "status"),
    [
        pytest.param("", "finished", id="end of the script"),
        pytest.param("sys.exit()", "finished", id="exit"),
        pytest.param("sys.exit(3)", "crashed", id="exit code"),
        pytest.param("raise KeyboardInterrupt", "killed", id="Ctrl-C"),
    ],
)
def test_a_forgotten_observer_is_closed(run, tmp_path, last, status):
    run(f"observer = Observer()\nobserver.step(0, 1.0)\n{last}", mode="offline")
    assert recorded(tmp_path, "ending")[0]["status"] == status
    assert len(recorded(tmp_path, "epoch")) == 1


def test_an_exception_in_a_thread_does_not_end_the_run(run, tmp_path):
    run(
        """
        observer = Observer()
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        observer.close()
        """,
        mode="offline",
    )
    assert "ZeroDivisionError" in recorded(tmp_path, "log")[0]["msg"]
    assert recorded(tmp_path, "ending")[0]["status"] == "finished"


def test_exit_does_not_wait_for_a_silent_server(run, server):
    server.slow = 60
    began = time.monotonic()
    process = run("Observer()", url=server.url, close_seconds=0.2)
    assert process.returncode == 0
    assert time.monotonic() - began < 50


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_data_loader(run, tmp_path, server, method):
    process = run(
        f"""
        import logging
        import torch

        torch.set_num_threads(1)

        class Data(torch.utils.data.Dataset):
            def __init__(self, observer):
                self.observer = observer

            def __len__(self):
                return 8

            def __getitem__(self, index):
                logging.getLogger("data").warning("a worker speaks")
                self.observer.log("from a worker")
                self.observer.step(index, 1.0)
                return torch.tensor(float(index))

        if __name__ == "__main__":
            observer = Observer()
            loader = torch.utils.data.DataLoader(Data(observer), num_workers=1, multiprocessing_context="{method}")
            for step, x in enumerate(loader):
                observer.step(step, x.mean())
            observer.close()
        """,
        url=server.url,
    )
    assert process.returncode == 0, process.err
    assert [epoch["loss"]["n_batches"] for epoch in server.session.epochs.values()] == [8]
    assert server.session.logs == {}


def test_a_forked_child_leaves_the_run_to_its_parent(run, tmp_path):
    process = run(
        """
        observer = Observer()
        if os.fork() == 0:
            observer.step(0, 1.0)
            observer.flush()
            observer.close()
            sys.exit(0)
        os.wait()
        observer.step(0, 1.0)
        observer.close()
        """,
        mode="offline",
    )
    assert process.returncode == 0, process.err
    assert (len(recorded(tmp_path, "epoch")), len(recorded(tmp_path, "ending"))) == (1, 1)


def test_a_fork_while_another_thread_records(run, tmp_path):
    process = run(
        """
        observer = Observer()
        threading.Thread(target=lambda: [observer.log("busy") for _ in range(3000)], daemon=True).start()
        for _ in range(20):
            child = os.fork()
            if child == 0:
                observer.log("from the child")
                observer.flush()
                os._exit(0)
            os.waitpid(child, 0)
        observer.close()
        """,
        mode="offline",
    )
    assert process.returncode == 0, process.err
    assert {line["msg"] for line in recorded(tmp_path, "log")} == {"busy"}


def test_other_ranks_are_silent(run, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    run("observer = Observer()\nobserver.step(0, 1.0)\nobserver.flush()")
    assert not (tmp_path / "runs").exists()


def test_the_user_s_logging_stays_the_user_s(run):
    process = run(
        """
        import logging
        observer = Observer()
        logging.warning("without any set-up")
        logging.getLogger().handlers.clear()
        logging.basicConfig(format="MINE %(message)s")
        logging.warning("with mine")
        """,
        mode="offline",
        quiet=1,
    )
    assert process.err.splitlines() == ["WARNING:root:without any set-up", "MINE with mine"]


def test_the_import_takes_nothing_else_along():
    code = (
        "import sys, observer_client;"
        "print([each for each in ('torch', 'psutil', 'codecarbon', 'numpy', 'django', 'http.client', 'ssl')"
        " if each in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_sync_as_a_command(run, tmp_path, server):
    run("observer = Observer(run_name='left behind')\nobserver.step(0, 1.0)", mode="offline")
    command = [sys.executable, "-m", "observer_client", "sync", str(tmp_path / "runs")]

    def synced(url):
        done = subprocess.run([*command, "--url", url], cwd=ROOT, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout

    nobody = IngestServer()
    nobody.stop()
    code, out = synced(nobody.url)
    assert (code, "still to send" in out) == (1, True)
    code, out = synced(server.url)
    assert (code, f"records sent · {server.url}/sessions/12" in out) == (0, True)
    code, out = synced(server.url)
    assert (code, "up to date" in out) == (0, True)


def test_sync_explains_itself():
    command = [sys.executable, "-m", "observer_client", "sync"]
    shown = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert (shown.returncode, "example:" in shown.stdout) == (0, True)
    missing = subprocess.run([*command, "nowhere"], cwd=ROOT, capture_output=True, text=True)
    assert (missing.returncode, "nowhere does not exist" in missing.stderr) == (2, True)


def test_the_wheel_works_alone(tmp_path, server):
    """In an environment without Django, NumPy or torch."""
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--no-deps",
            "--no-build-isolation",
            "-q",
            "-w",
            tmp_path,
            copied(tmp_path),
        ],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("mldiag_observer-*.whl")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-index", wheel], check=True, capture_output=True)
    code = "from observer_client import Observer\nwith Observer() as o:\n    o.step(0, 0.5)\n    o.flush(val_loss=1)"
    done = subprocess.run(
        [python, "-W", "error", "-c", code],
        env={"MLDIAG_URL": server.url, "PATH": os.environ["PATH"]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "score 73/100" in done.stderr
    assert server.session.epochs[0, 0]["loss"]["val"] == {"val_loss": 1.0}
    assert (tmp_path / "venv" / "bin" / "mldiag-observer").exists()


def copied(tmp_path):
    """A copy to build in: setuptools writes beside the sources."""
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    return shutil.copytree(ROOT / "observer_client", tmp_path / "observer_client", ignore=ignored)


def test_a_dead_run_is_finished_by_the_next(run, tmp_path, server):
    process = run("observer = Observer(run_name='first')\nobserver.flush()\nos.kill(os.getpid(), 9)", url=server.url)
    assert process.returncode == -9
    run("observer = Observer(run_name='second')\ntime.sleep(2)", url=server.url)
    wait_until(lambda: len(server.sessions) == 2)
    endings = {each.opening["run_name"]: each.ending["status"] for each in server.sessions.values()}
    assert endings == {"first": "killed", "second": "finished"}
    assert json.loads(next((tmp_path / "runs").glob("first-*/sent.json")).read_text())["rejected"] == []
