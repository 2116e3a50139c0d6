"""A process is known by its machine, its pid and when it started."""

import os
import shutil
import subprocess
import sys

import pytest

from dacapo_hd.stores import process


@pytest.fixture(autouse=True)
def fresh():
    process.machine_id.cache_clear()
    yield
    process.machine_id.cache_clear()


@pytest.fixture
def sleeper():
    child = subprocess.Popen(["sleep", "1000"])
    yield child
    child.kill()
    child.wait()


SAY_MACHINE = "from dacapo_hd.stores.process import machine_id; print(machine_id())"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_processes_of_one_machine_agree_on_it():
    said = subprocess.run([sys.executable, "-c", SAY_MACHINE], capture_output=True, text=True, check=True).stdout
    assert said.strip() == process.machine_id().strip()
    assert not process.machine_id().startswith("unknown")


def test_a_process_lives_until_it_is_killed(sleeper):
    start = process.process_start(sleeper.pid)
    assert start
    assert process.is_alive(sleeper.pid, start) is True
    assert process.is_alive(sleeper.pid, start + "1") is False
    sleeper.kill()
    sleeper.wait()
    assert process.is_alive(sleeper.pid, start) is False


def test_without_proc_no_two_processes_are_on_one_machine(monkeypatch, tmp_path, sleeper):
    monkeypatch.setattr(process, "PROC", tmp_path)
    first = process.machine_id()
    process.machine_id.cache_clear()
    assert first.startswith("unknown ")
    assert process.machine_id() != first


def test_without_a_boot_id_no_two_processes_are_on_one_machine(monkeypatch, tmp_path):
    (tmp_path / "self").symlink_to(str(os.getpid()))
    monkeypatch.setattr(process, "PROC", tmp_path)
    assert process.machine_id().startswith("unknown ")


def test_the_proc_of_another_namespace_says_nothing(monkeypatch, tmp_path):
    (tmp_path / "self").symlink_to(str(os.getpid() + 1))
    monkeypatch.setattr(process, "PROC", tmp_path)
    assert process.machine_id().startswith("unknown ")


def test_of_a_hidden_process_only_its_end_is_seen(monkeypatch, tmp_path, sleeper):
    start = process.process_start(sleeper.pid)
    monkeypatch.setattr(process, "PROC", tmp_path)
    assert process.is_alive(sleeper.pid, start) is None
    sleeper.kill()
    sleeper.wait()
    assert process.is_alive(sleeper.pid, start) is False


@pytest.fixture
def macos(monkeypatch, tmp_path):
    """The commands of macOS: `ps` understands the same options elsewhere, `sysctl` is made up."""
    if shutil.which("ps") is None:
        pytest.skip("needs the command ps")
    command = tmp_path / "sysctl"
    command.write_text('#!/bin/sh\ntest "$*" = "-n kern.bootsessionuuid" && echo 0A1B-2C\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(sys, "platform", "darwin")
    return command


def test_on_macos_processes_are_known_by_commands(macos, sleeper):
    assert process.machine_id() == f"{os.uname().nodename} 0A1B-2C"
    start = process.process_start(sleeper.pid)
    assert len(start.split()) == 5
    assert process.is_alive(sleeper.pid, start) is True
    assert process.is_alive(sleeper.pid, "Thu Jan  1 00:00:00 1970") is False
    sleeper.kill()
    sleeper.wait()
    assert process.is_alive(sleeper.pid, start) is False


def test_on_macos_without_a_boot_id_no_two_processes_are_on_one_machine(macos):
    macos.write_text("#!/bin/sh\nexit 1\n")
    assert process.machine_id().startswith("unknown ")
