"""Other processes that open the store of a test."""

import subprocess
import sys
import textwrap


def start(code, place, *arguments):
    """Start another process with `store` open."""
    script = "import sys; from dacapo_hd.stores import *; store = open_store(sys.argv[1], sys.argv[2] or None)\n"
    given = [place[0], place[1] or "", *map(str, arguments)]
    return subprocess.Popen(
        [sys.executable, "-c", script + textwrap.dedent(code), *given],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


CROWD = """
    import multiprocessing
    import os
    import sys
    from dacapo_hd.config import canonical_hash
    from dacapo_hd.stores import *
    from dacapo_hd.stores import mongo

    def say(word):
        os.write(1, f"{word}\\n".encode())  # in one piece

    def child(number, barrier):
        store = open_store(sys.argv[1], sys.argv[2] or None)
        barrier.wait()
        work(store, number, barrier)

    if __name__ == "__main__":
        # from a process without threads a fork is safe, and quick
        context = multiprocessing.get_context("fork")
        barrier = context.Barrier(int(sys.argv[3]))
        children = [context.Process(target=child, args=(number, barrier)) for number in range(int(sys.argv[3]))]
        for process in children:
            process.start()
        for process in children:
            process.join()
        sys.exit(any(process.exitcode for process in children))
"""


def crowd(work, place, processes):
    """Run `def work(store, number, barrier)` in many processes at once; returns the lines that they printed."""
    script = textwrap.dedent(work) + textwrap.dedent(CROWD)
    command = [sys.executable, "-c", script, place[0], place[1] or "", str(processes)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()


def finish(process):
    """Wait for a process that `start` started; returns what it printed."""
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


HOLD = """
    with store.lock("run"):
        print("held", flush=True)
        sys.stdin.read()
"""
