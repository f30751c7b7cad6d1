"""Starts trainings of two workers on the loopback interface, for the tests."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

SCRIPT = pathlib.Path(__file__).parents[2] / "examples/train_imagenet.py"


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for item in sockets:
        item.bind(("127.0.0.1", 0))
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports


def start_workers(output, *options, script=SCRIPT, smoke=True):
    """Starts two processes, whose output goes to files beside the folder."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    processes = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": cluster, "task": task})
        with open(f"{output}-{index}.txt", "a") as file:
            arguments = ["--smoke", "--output", output] if smoke else []
            processes.append(
                subprocess.Popen(
                    [sys.executable, script, *map(str, [*arguments, *options])],
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, "TF_CONFIG": config},
                )
            )
    return processes


def supervise(processes, seconds=200):
    """Ends all workers when one has failed, as documented; returns codes."""
    limit = time.monotonic() + seconds
    while any(process.poll() is None for process in processes):
        failed = any(process.poll() for process in processes)
        if failed or time.monotonic() > limit:
            time.sleep(5)  # Time to save, where all got a signal.
            for process in processes:
                process.kill()
        time.sleep(0.1)
    return [process.wait() for process in processes]


def texts(output):
    paths = [pathlib.Path(f"{output}-{index}.txt") for index in range(2)]
    return [path.read_text(errors="replace") for path in paths]
