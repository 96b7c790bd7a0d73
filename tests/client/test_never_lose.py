"""Signals, resumed runs, full spools, forgotten observers."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import threading
import time
import weakref

import pytest
import torch

from observer_client import Observer, ObserverConfig, past, spool, terminating
from observer_client.runfolder import entries
from observer_client.spool import Spool
from tests.client.conftest import net, records, wait_until
from tests.client.test_delivery import train
from tests.client.test_processes import recorded, run

__all__ = ["run"]

SELF = "os.kill(os.getpid(), signal.SIGTERM)"


@pytest.mark.processes
@pytest.mark.parametrize(
    ("code", "status", "returned"),
    [
        pytest.param(SELF, "killed", -signal.SIGTERM, id="no handler"),
        pytest.param("os.kill(os.getpid(), signal.SIGHUP)", "killed", -signal.SIGHUP, id="hangup"),
        pytest.param(f"other = Observer()\nother.close()\n{SELF}", "killed", -signal.SIGTERM, id="after another run"),
    ],
)
def test_a_signal_is_recorded_and_ends_the_process(run, tmp_path, code, status, returned):
    process = run(f"import signal\nobserver = Observer('x')\nobserver.step(0, 1.0)\n{code}", mode="offline")
    assert process.returncode == returned, process.err
    folder = min((tmp_path / "runs").iterdir(), key=lambda each: each.stat().st_ctime)
    kinds = {entry.kind: entry.data for entry in entries(folder / "records.jsonl")}
    assert kinds["ending"]["status"] == status and kinds["epoch"]["loss"]["n_batches"] == 1


@pytest.mark.processes
@pytest.mark.parametrize(
    ("handler", "status", "returned"),
    [
        pytest.param("lambda *a: print('mine')", "finished", 0, id="goes on"),
        pytest.param("lambda *a: sys.exit(0)", "killed", 0, id="exits"),
        pytest.param("signal.SIG_IGN", "finished", 0, id="ignored"),
    ],
)
def test_a_handler_of_the_training_decides(run, tmp_path, handler, status, returned):
    code = f"""
        import signal
        signal.signal(signal.SIGTERM, {handler})
        observer = Observer()
        {SELF}
        observer.close()
        """
    process = run(code, mode="offline")
    assert (process.returncode, recorded(tmp_path, "ending")[0]["status"]) == (returned, status), process.err


@pytest.mark.processes
def test_a_handler_on_top_that_calls_ours_stays_in_charge(run, tmp_path):
    code = f"""
        import signal
        observer = Observer()
        ours = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda *a: ours(*a))
        {SELF}
        observer.close()
        """
    assert run(code, mode="offline").returncode == 0
    assert recorded(tmp_path, "ending")[0]["status"] == "finished"


@pytest.mark.processes
def test_a_forked_child_dies_of_a_signal_as_ever(run, tmp_path):
    code = f"""
        import signal
        observer = Observer()
        child = os.fork()
        if child == 0:
            {SELF}
        assert os.waitpid(child, 0)[1] == signal.SIGTERM
        observer.close()
        """
    assert run(code, mode="offline").returncode == 0
    assert [each["status"] for each in recorded(tmp_path, "ending")] == ["finished"]


STUCK = """
import ctypes
c, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
c.pthread_mutex_init(mutex, None)
c.pthread_mutex_lock(mutex)
print("stuck", flush=True)
c.pthread_mutex_lock(mutex)
"""


def stuck(run, code, name="SIGTERM", **settings):
    """A process that gets a signal while a call of C does not return."""
    process = run(code + STUCK, wait=False, **settings)
    assert process.stdout.readline() == "stuck\n"
    # It says so just before.
    time.sleep(0.5)
    process.send_signal(signal.Signals[name])
    return process


@pytest.mark.processes
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_process_stuck_in_a_call_ends_and_keeps_its_steps(run, server, name):
    process = stuck(run, "observer = Observer()\nobserver.step(0, 1.0)", name, url=server.url)
    process.communicate(timeout=60)
    assert process.returncode == -signal.Signals[name]
    reason = f"{name}, while the main thread was stuck in a call"
    assert (server.session.ending["status"], server.session.ending["reason"]) == ("killed", reason)
    assert [epoch["loss"]["n_batches"] for epoch in server.session.epochs.values()] == [1]


@pytest.mark.processes
def test_a_process_stuck_with_a_lock_of_ours_ends(run):
    process = stuck(run, "observer = Observer()\nobserver.step(0, 1.0)\nobserver._lock.acquire()", mode="offline")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM


@pytest.mark.processes
def test_signals_of_children_end_no_parent(run, tmp_path):
    code = """
        import signal
        observer = Observer()
        for _ in range(50):
            child = os.fork()
            if child == 0:
                time.sleep(60)
            os.kill(child, signal.SIGTERM)
            assert os.waitpid(child, 0)[1] == signal.SIGTERM
        time.sleep(2)
        observer.close()
        """
    assert run(code, mode="offline").returncode == 0
    assert [each["status"] for each in recorded(tmp_path, "ending")] == ["finished"]


def test_a_signal_that_was_for_another_process_ends_nothing(nobody_else, observe):
    observer = observe()
    terminating._heard(signal.SIGTERM)
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        observer.step(0, 1.0)
    assert terminating._insisted == set() and observer._live


@pytest.mark.processes
def test_a_handler_of_the_training_is_not_overruled_while_stuck(run):
    code = "import signal\nsignal.signal(signal.SIGTERM, lambda *a: None)\nobserver = Observer()"
    process = stuck(run, code, mode="offline")
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=3)
    process.kill()
    process.communicate()


@pytest.mark.processes
def test_an_event_loop_hears_of_its_signals_as_ever(run, tmp_path):
    code = """
        import asyncio, signal
        async def main():
            heard = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, heard.set)
            with Observer():
                os.kill(os.getpid(), signal.SIGUSR1)
                await asyncio.wait_for(heard.wait(), 30)
        asyncio.run(main())
        """
    assert run(code, mode="offline").returncode == 0
    assert recorded(tmp_path, "ending")[0]["status"] == "finished"


@pytest.fixture
def nobody_else(monkeypatch):
    """No run of another test that still waits for its end."""
    monkeypatch.setattr(terminating, "_living", weakref.WeakSet())
    monkeypatch.setattr(terminating, "_before", {})
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def test_handlers_are_taken_back(nobody_else, observe):
    before = signal.getsignal(signal.SIGTERM)
    first, second = observe(), observe()
    assert signal.getsignal(signal.SIGTERM) != before
    first.close()
    second.close()
    assert signal.getsignal(signal.SIGTERM) == before


def test_in_a_thread_no_handler_is_set(observe):
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=lambda: observe().close())
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == before


def resumed(first, **settings):
    config = ObserverConfig(**{"mode": "offline", "directory": str(first.folder.parent), **settings})
    return Observer(config=config, resume=first.key)


@pytest.mark.parametrize("by", ["key", "folder", "environment"])
def test_a_run_goes_on(observe, server, by, monkeypatch, tmp_path):
    first = observe(server)
    train(first, 3)
    first.close()
    resume = {"key": first.key, "folder": first.folder, "environment": None}[by]
    if by == "environment":
        monkeypatch.setenv("MLDIAG_RUN_KEY", first.key)
    config = ObserverConfig(url=server.url, directory=str(tmp_path / "runs"))
    with Observer(config=config, resume=resume) as second:
        second.flush(epoch=2)
        second.flush()
    assert (second.key, second.folder) == (first.key, first.folder)
    assert sorted(server.session.epochs) == [(0, 0), (1, 0), (2, 0), (2, 1), (3, 0)]
    assert server.session.opening["attempt"] == 1 and server.session.opening["run_name"] == "digits"


def first_steps(observer):
    return [(each["epoch"], each["steps"]["first"][0]) for each in records(observer, "epoch")]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param(None, [(3, 12), (4, 16)], id="the next epoch"),
        pytest.param(2, [(2, 8), (3, 12)], id="an epoch again"),
        pytest.param(0, [(0, 0), (1, 4)], id="from the start"),
        pytest.param(7, [(7, 12), (8, 16)], id="epochs left out"),
    ],
)
def test_steps_of_a_resumed_run_are_counted_on(observe, told, expected):
    first = observe()
    train(first, 3)
    first.close()
    with resumed(first) as second:
        for epoch in (told, None):
            for _ in range(4):
                second.step(loss=float("nan"))
            second.flush(epoch=epoch)
        assert first_steps(second)[3:] == expected
        assert second._progress()["step"] == expected[1][1] + 4
        assert records(second, "epoch")[3]["loss"]["first_non_finite_step"] == expected[0][1]


def test_a_damaged_record_keeps_nobody_from_resuming(observe):
    first = observe()
    train(first, 2)
    first.close()
    with (first.folder / "records.jsonl").open("a") as file:
        file.write('{"seq": 99, "kind": "epoch", "data": {"epoch": "x", "steps": 3}}\n')
    with resumed(first) as second:
        assert second.key == first.key and second._epochs.next == 2


def test_log_lines_of_a_resumed_run_get_new_numbers(observe):
    first = observe()
    first.log("one")
    first.close()
    with resumed(first) as second:
        second.log("two")
        assert [line["seq"] for line in records(second, "log")] == [1, 2]


def test_a_run_that_another_process_records_is_not_resumed(observe, caplog):
    first = observe()
    with resumed(first) as second:
        assert second.key != first.key
    assert "still being recorded" in caplog.text


def test_a_run_recorded_elsewhere_gets_attempts_by_the_clock(observe, tmp_path):
    key = "0b9cc1c1-5f0e-4b43-a4ea-7c1d9a3c3f55"
    config = ObserverConfig(mode="offline", directory=str(tmp_path / "elsewhere"))
    with Observer(config=config, resume=key) as observer:
        observer.flush(epoch=4)
        opening, epoch = records(observer, "opening")[0], records(observer, "epoch")[0]
    assert (opening["key"], epoch["epoch"]) == (key, 4)
    assert epoch["attempt"] == opening["attempt"] > 1_000_000


def test_what_is_no_run_cannot_be_resumed(tmp_path):
    with pytest.raises(ValueError, match="key of a run or its folder"):
        Observer(config=ObserverConfig(mode="offline", directory=str(tmp_path)), resume="nonsense")


def test_nonsense_in_the_environment_begins_a_new_run(observe, monkeypatch, caplog):
    monkeypatch.setenv("MLDIAG_RUN_KEY", "nonsense")
    assert observe().folder.is_dir() and "a new run begins" in caplog.text


def test_the_environment_names_one_run_of_a_process(observe, monkeypatch):
    monkeypatch.setattr(past, "_used", set())
    monkeypatch.setenv("MLDIAG_RUN_KEY", "0b9cc1c1-5f0e-4b43-a4ea-7c1d9a3c3f66")
    first, second = observe(), observe()
    assert first.key.endswith("66") and second.key != first.key


@pytest.fixture
def small(tmp_path):
    made = Spool(tmp_path / "run", max_mb=1)
    yield made
    made.close()


def fill(small, record, count, **data):
    for number in range(count):
        small.append(record, {"number": number, "text": "x" * 10_000, **data})


def test_a_spool_that_is_full_drops_its_oldest_log_lines(small, caplog):
    small.append("opening", {"key": "k"})
    fill(small, "log", 5, kind="error")
    fill(small, "epoch", 20)
    fill(small, "log", 150, kind="console")
    kinds = [entry.kind for entry in small.everything()]
    assert small.records.stat().st_size < 1.2 * 2**20
    assert (kinds.count("opening"), kinds.count("epoch")) == (1, 20)
    assert sum(entry.data.get("kind") == "error" for entry in small.everything()) == 5
    assert small.everything()[-1].data["number"] == 149
    assert caplog.text.count("larger than max_spool_mb") == 1


def test_epochs_are_never_dropped(small):
    fill(small, "epoch", 150)
    assert [entry.data["number"] for entry in small.everything()] == list(range(150))


def test_what_is_left_of_a_full_spool_is_sent(small):
    fill(small, "epoch", 60)
    reading = small.unsent(most=30)
    fill(small, "log", 100, kind="console")
    small.acknowledge(reading[-1])
    left = small.unsent()
    assert [entry.data["number"] for entry in left if entry.kind == "epoch"] == list(range(30, 60))


def test_memory_takes_ten_megabytes():
    assert spool.KEPT_BYTES <= 10_000_000


def open_files():
    return len(os.listdir("/proc/self/fd"))


def test_a_forgotten_observer_keeps_nothing(observe, tmp_path):
    config = ObserverConfig(mode="offline", directory=str(tmp_path / "runs"), quiet=True)
    gc.collect()
    files, threads = open_files(), threading.active_count()
    folders = []
    for _ in range(3):
        observer = Observer(config=config)
        observer.register_model(net())
        observer.step(0, 1.0)
        folders.append(observer.folder)
    del observer
    gc.collect()
    wait_until(lambda: (open_files(), threading.active_count()) == (files, threads))
    for folder in folders:
        assert "ending" in [entry.kind for entry in entries(folder / "records.jsonl")]


def test_a_forgotten_observer_delivers_in_the_background(server, tmp_path):
    server.slow = 0.2
    observer = Observer(config=ObserverConfig(url=server.url, directory=str(tmp_path / "runs"), quiet=True))
    observer.step(0, 1.0)
    began = time.monotonic()
    del observer
    gc.collect()
    assert time.monotonic() - began < 10
    wait_until(lambda: server.sessions and server.session.ending)
    assert server.session.ending["status"] == "finished"


@pytest.mark.parametrize(
    "step",
    [torch.arange(3), torch.tensor(0.5), None, "x", float("nan"), object()],
    ids=["several numbers", "a half", "none", "text", "nan", "object"],
)
def test_an_absurd_step_is_not_profiled_and_no_error(observe, forgiving, step):
    observer = observe(profile_at_step=7)
    assert observer.should_profile(step) is False


def test_a_step_in_a_tensor_is_understood(observe):
    assert observe(profile_at_step=7).should_profile(torch.tensor(7))
