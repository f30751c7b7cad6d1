"""What docs/cluster.md shows, started as Slurm and Kubernetes start it."""

import os
import pathlib
import re
import subprocess
import sys

import keras
import pytest

from keras_epsanet.classification.imagenet.smoke import write_images
from keras_epsanet.commands import train_imagenet

if keras.backend.backend() != "tensorflow":
    pytest.skip("workers train on TensorFlow", allow_module_level=True)

ROOT = pathlib.Path(__file__).parents[2]
TINY = "--model tiny --image-size 32 --batch-size 4 --epochs 1"
# Starts two tasks of one node, and ends as the one that ends worst.
SRUN = """#!/bin/bash
echo "$1" > "$CALLS/srun"; shift
for i in 0 1; do
  env SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NODELIST=localhost \\
    SLURM_STEP_TASKS_PER_NODE=2 SLURMD_NODENAME=localhost \\
    SLURM_PROCID=$i SLURM_LOCALID=$i "$@" > "$CALLS/task-$i" 2>&1 &
  tasks[$i]=$!
done
worst=0
for i in 0 1; do
  wait ${tasks[$i]}; code=$?
  if [ $code -gt $worst ]; then worst=$code; fi
done
exit $worst
"""


def block(language):
    """The only block of this language on the page."""
    text = (ROOT / "docs/cluster.md").read_text()
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return found


@pytest.fixture
def batch_script(tmp_path):
    """Function that runs the page's script with commands of ours."""

    def run(commands, *options):
        programs = tmp_path / "bin"
        programs.mkdir()
        for name, text in commands.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        (tmp_path / "script").write_text(block("bash"))
        variables = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "CALLS": str(tmp_path),
            "IMAGENET": str(tmp_path / "images"),
            "RUN": str(tmp_path / "run"),
            "SLURM_JOB_ID": str(os.getpid()),
            "SLURM_NTASKS": "2",
        }
        command = ["bash", str(tmp_path / "script"), *options]
        return subprocess.run(command, env={**os.environ, **variables})

    return run


@pytest.mark.parametrize("code, queued", [(0, False), (75, True), (1, False)])
def test_a_job_that_was_ended_is_queued_again(
    code, queued, batch_script, tmp_path
):
    commands = {
        "keras-epsanet": f"#!/bin/sh\nexit {code}\n",
        "srun": SRUN,
        "scontrol": '#!/bin/sh\necho "$@" > "$CALLS/scontrol"\n',
    }
    assert batch_script(commands).returncode == code
    assert (tmp_path / "srun").read_text() == "--kill-on-bad-exit=1\n"
    assert (tmp_path / "scontrol").exists() == queued
    if queued:
        called = (tmp_path / "scontrol").read_text()
        assert called == f"requeue {os.getpid()}\n"


@pytest.mark.large
def test_the_tasks_of_slurm_train_together(batch_script, tmp_path):
    write_images(tmp_path / "images")
    program = f"#!/bin/sh\nexec {sys.executable} -m keras_epsanet_command "
    commands = {"keras-epsanet": f'{program} "$@"\n', "srun": SRUN}
    result = batch_script(commands, *TINY.split())
    logs = [(tmp_path / f"task-{i}").read_text() for i in range(2)]
    assert result.returncode == 0, logs[0][-3000:]
    for log in logs:
        assert "2 devices train with 2 processes, which SLURM_STEP" in log
    assert (tmp_path / "run/last.weights.h5").is_file()


def test_the_manifest_starts_a_training():
    yaml = pytest.importorskip("yaml")
    workers = yaml.safe_load(block("yaml"))["spec"]["tfReplicaSpecs"]["Worker"]
    (container,) = workers["template"]["spec"]["containers"]
    assert container["name"] == "tensorflow"  # Else TF_CONFIG is not set.
    assert container["command"] == ["keras-epsanet", "train-imagenet"]
    args = train_imagenet.parse(container["args"])
    mounted = [x["mountPath"] for x in container["volumeMounts"]]
    for path in (args.data, args.output):
        assert pathlib.Path(path).parts[:2] in [
            pathlib.Path(mount).parts for mount in mounted
        ]
