"""The small parts: guard, config, logs, machine, environment, carbon, connection."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from observer_client import ObserverConfig, carbon, environment, guard, machine
from observer_client.connection import Connection, Refused, Unavailable, seconds_of
from observer_client.logs import LogTap, log_line
from observer_client.record import Carbon
from tests.client.conftest import records, wait_until
from tests.client.server import Fault


class Clumsy:
    @guard.harmless
    def trip(self, error):
        raise error


def test_our_own_error_is_said_once_a_place(forgiving, caplog):
    for _ in range(3):
        assert Clumsy().trip(RuntimeError("ours")) is None
    assert caplog.text.count("Clumsy.trip failed, training goes on: RuntimeError: ours") == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_passes_the_guard(error):
    with pytest.raises(error):
        Clumsy().trip(error())


def test_arguments_win_over_variables_over_defaults(monkeypatch):
    monkeypatch.setenv("MLDIAG_HEARTBEAT_SECONDS", "3")
    monkeypatch.setenv("MLDIAG_TRACK_MEMORY", "off")
    monkeypatch.setenv("MLDIAG_API_KEY", "key")
    config = ObserverConfig(track_memory=True)
    assert (config.heartbeat_seconds, config.track_memory, config.api_key) == (3.0, True, "key")
    assert (ObserverConfig().track_memory, config.track_system) == (False, True)


@pytest.mark.parametrize(
    ("name", "text"),
    [("PROFILE_AT_STEP", "first"), ("TRACK_SYSTEM", "perhaps"), ("MODE", "sometimes")],
)
def test_a_variable_with_a_typo_is_said_and_ignored(monkeypatch, caplog, name, text):
    expected = getattr(ObserverConfig(), name.lower())
    monkeypatch.setenv(f"MLDIAG_{name}", text)
    assert getattr(ObserverConfig(), name.lower()) == expected
    assert f"MLDIAG_{name}" in caplog.text


@pytest.mark.parametrize(
    "wrong", [{"mode": "sometimes"}, {"log_level": "LOUD"}, {"url": "ftp://x"}, {"profile_at_step": -1}], ids=str
)
def test_an_argument_that_makes_no_sense(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ObserverConfig(**wrong)


@pytest.fixture
def heard():
    """Log lines that a tap of level WARNING hears, while it is open."""
    lines = []
    tap = LogTap("WARNING", lines.append)
    yield lines
    tap.close()


def test_warnings_are_heard_and_lesser_ones_not(heard):
    logger = logging.getLogger("train")
    logger.setLevel("DEBUG")
    logger.info("step 1")
    logger.warning("loss is %s", "nan")
    logger.error("no more memory")
    logging.getLogger("mldiag").warning("our own")
    assert [(line.msg, line.kind, line.logger) for line in heard] == [
        ("loss is nan", "console", "train"),
        ("no more memory", "error", "train"),
    ]


def test_an_exception_comes_with_its_traceback(heard):
    try:
        raise ValueError("no such label")
    except ValueError:
        logging.getLogger("train").exception("batch skipped")
    assert heard[0].msg.startswith("batch skipped\nTraceback")
    assert heard[0].msg.endswith("ValueError: no such label")


def test_a_flood_is_cut_and_counted(heard, monkeypatch):
    now = [1e9]
    monkeypatch.setattr("observer_client.logs.monotonic", lambda: now[0])
    for _ in range(500):
        logging.getLogger("train").warning("again")
    assert len(heard) == 200
    now[0] += 1
    logging.getLogger("train").warning("later")
    assert [line.msg for line in heard[200:]] == ["300 log lines were left out: too many at once", "later"]


def test_a_flood_of_warnings_hides_no_error(heard):
    for _ in range(500):
        logging.getLogger("train").warning("again")
    logging.getLogger("train").error("no more memory")
    assert heard[-1].msg == "no more memory"


def test_a_message_that_logs_while_it_is_written_does_not_run_in_circles(heard):
    class Talkative:
        def __str__(self):
            logging.getLogger("train").warning("inner")
            return "outer"

    logging.getLogger("train").makeRecord("train", logging.ERROR, "f", 1, "%s", (Talkative(),), None)
    assert [line.msg for line in heard] == ["outer"]


def test_a_message_with_wrong_arguments_is_the_user_s_business(heard, forgiving):
    logging.getLogger("train").makeRecord("train", logging.ERROR, "f", 1, "%d", ("x",), None)
    assert heard == []


def test_a_long_line_is_cut_in_the_middle():
    line = log_line("a" * 9000 + "z" * 9000)
    assert len(line.msg) < 8100
    assert (line.msg[0], line.msg[-1]) == ("a", "z")


def test_logs_of_a_run(observe):
    observer = observe(log_level="ERROR")
    logging.getLogger("train").warning("not this")
    logging.getLogger("train").error("CUDA out of memory")
    assert [(line["msg"], line["kind"]) for line in records(observer, "log")] == [("CUDA out of memory", "error")]


def test_memory_of_this_process():
    reading = machine.memory()
    assert 1 < reading.process_rss_mb <= reading.process_rss_peak_mb * 1.1
    assert reading.system_available_mb > 1
    assert reading.gpu_allocated_mb is None


def test_load_between_two_readings():
    meter = machine.LoadMeter()
    sum(range(300_000))
    wait_until(lambda: machine._machine_times() != meter._machine)
    load = meter.read()
    assert 0 <= load.cpu_percent <= 100
    assert load.process_cpu_percent > 0


@pytest.mark.parametrize("there", [True, False], ids=["with psutil", "without"])
def test_where_there_is_no_proc(monkeypatch, there):
    def nothing(path, *arguments):
        raise FileNotFoundError(path)

    monkeypatch.setattr(machine, "open", nothing, raising=False)
    if not there:
        monkeypatch.setitem(sys.modules, "psutil", None)
    assert (machine.memory().process_rss_mb is not None) == there
    machine.LoadMeter().read()


def test_the_commit_of_the_code(tmp_path, monkeypatch):
    def git(*arguments):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)

    script = tmp_path / "train.py"
    script.write_text("")
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("-c", "user.name=Alice", "-c", "user.email=alice@example.org", "commit", "-q", "-m", "First")
    monkeypatch.setattr(sys, "argv", [str(script)])
    assert (environment.code()["git_branch"], environment.code()["git_dirty"]) == ("main", False)
    script.write_text("changed")
    assert environment.code()["git_dirty"] is True


def test_code_without_a_repository(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [""])
    monkeypatch.chdir(tmp_path)
    assert environment.code() == {}


def test_carbon_of_a_window(monkeypatch):
    opened = []

    def no_socket(*arguments):
        opened.append(threading.current_thread().name)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", no_socket)
    meter = carbon.CarbonMeter("deu")
    assert meter.read(1.0) is None, "not warm yet"
    wait_until(meter._ready.is_set, 60)
    found = meter.read(0.001)
    assert isinstance(found, Carbon)
    assert found.epoch_energy_kwh >= 0
    assert found.estimated in (True, False)
    assert meter.read(10_000.0) is None, "most of the window was not watched"
    # The sender of another test's run may still try.
    assert set(opened) <= {"mldiag", "mldiag-end"}


def test_without_codecarbon_there_is_no_carbon(monkeypatch, observe):
    monkeypatch.setitem(sys.modules, "codecarbon.emissions_tracker", None)
    observer = observe(track_carbon_emissions=True)
    observer.flush()
    assert "carbon_emissions" not in records(observer, "epoch")[0]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param(Fault(500), Unavailable, id="500"),
        pytest.param(Fault(429), Unavailable, id="429"),
        pytest.param(Fault(408), Unavailable, id="408"),
        pytest.param(Fault(200, body=b"<html>"), Unavailable, id="html"),
        pytest.param(Fault(200, body=b"[]"), Unavailable, id="a list"),
        pytest.param(Fault(None), Unavailable, id="breaks off"),
        pytest.param(Fault(400), Refused, id="400"),
        pytest.param(Fault(404, body=b"<html>"), Refused, id="404"),
        pytest.param(Fault(302), Refused, id="redirect"),
    ],
)
def test_what_may_be_tried_again(server, fault, error):
    server.fault = fault
    connection = Connection(server.url)
    with pytest.raises(error):
        connection.send("PUT", "/api/sessions/k", {})
    connection.close()


def test_the_reason_and_the_place_of_a_refusal(server):
    server.fault = Fault(400, body=b'{"detail": "No such field.", "path": "$.epochs[0].epoch"}')
    connection = Connection(server.url)
    with pytest.raises(Refused, match=r"400: No such field. \(at \$\.epochs\[0\]\.epoch\)"):
        connection.send("PUT", "/api/sessions/k", {})
    connection.close()


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        pytest.param("3", 3, 3, id="seconds"),
        pytest.param("86400", 600, 600, id="too long a wait is cut"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT", 0, 0, id="a date gone by"),
    ],
)
def test_retry_after(header, low, high):
    assert low <= seconds_of(header) <= high


def test_retry_after_a_date():
    header = format_datetime(datetime.now(UTC) + timedelta(seconds=300), usegmt=True)
    assert 200 <= seconds_of(header) <= 300
