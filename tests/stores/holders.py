"""Processes that hold the run `run` of a file store."""

import subprocess
import sys
import textwrap

PROGRAM = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from dacapo_hd.errors import UserError
    from dacapo_hd.stores import FileStore, Heartbeat, lease

    folder, machine, seconds, patience, start = sys.argv[1:]
    if machine:
        lease.machine_id = lambda: machine
    print("ready", flush=True)
    while start and not Path(start).exists():
        time.sleep(0.001)
    try:
        with FileStore(folder).lock("run", Heartbeat(float(seconds), float(patience))) as held:
            print("held", flush=True)
            for line in sys.stdin:
                try:
                    held.require_held()
                    print("still held", flush=True)
                except UserError as error:
                    print(error, flush=True)
    except UserError as error:
        print(error, flush=True)
        sys.exit(error.exit_code)
""")


class Holders:
    """Starts processes that hold the run until their input ends, and ends those that are left."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []

    def start(self, machine="", seconds=0.05, patience=60.0, start=""):
        """Start a process that tries to hold the run, once the file `start` exists."""
        arguments = [sys.executable, "-c", PROGRAM, self.folder, machine, seconds, patience, start]
        process = subprocess.Popen(
            [str(argument) for argument in arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.processes.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    def holding(self, **options):
        """Start a process and wait until it holds the run."""
        process = self.start(**options)
        assert process.stdout.readline() == "held\n"
        return process

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()


def ask(process):
    """Have a holder ask for its lease; returns what it says."""
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().rstrip("\n")
