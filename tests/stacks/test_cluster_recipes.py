"""The recipes of docs/tutorial_cluster.md for SLURM and TLS, as they stand there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.cli.command_line import ENVIRONMENT, command
from tests.docs.pages import blocks
from tests.helpers import PATIENCE
from tests.stacks.test_restore_stack import planes

PAGE = "tutorial_cluster.md"

# What SLURM's program of that name does for one job: it runs the script elsewhere, and says so.
SBATCH = """#!/bin/sh
cp "$1" job.sh
setsid sh job.sh >job.log 2>&1 &
echo $! >>jobs
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
kill -- "-$1" 2>/dev/null || true
"""


@pytest.mark.skipif(sys.platform != "linux", reason="SLURM runs on Linux")
@pytest.mark.slow
def test_jobs_of_slurm_restore_a_stack(tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    tifffile.imwrite(tmp_path / "stack.tif", planes(3, side=32), photometric="minisblack")
    (script,) = blocks(PAGE, "python", "SLURM")
    (tmp_path / "script.py").write_text(script)
    try:
        done = subprocess.run(
            [sys.executable, "script.py"],
            cwd=tmp_path,
            env={**ENVIRONMENT, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        for job in (tmp_path / "jobs").read_text().split():
            _end_group(int(job))
    assert done.returncode == 0, done.stderr
    job = (tmp_path / "job.sh").read_text()
    assert "#SBATCH --cpus-per-task=1" in job
    assert "export OMP_NUM_THREADS=1" in job
    assert tifffile.imread(tmp_path / "stack_x2.tif").shape == (3, 64, 64)


def _end_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


@contextmanager
def running(line: str, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run one of Dask's programs meanwhile."""
    _, program, *arguments = line.split()
    module = [sys.executable, "-m", f"distributed.cli.dask_{program}", *arguments]
    with (folder / f"{program}.log").open("w") as log:
        process = subprocess.Popen(module, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
@pytest.mark.slow
def test_a_cluster_with_certificates_restores_a_stack(tmp_path: Path, free_port: int) -> None:
    make, start = blocks(PAGE, "sh", "TLS")
    (settings,) = blocks(PAGE, "yaml", "TLS")
    subprocess.run(make.split(), cwd=tmp_path, capture_output=True, timeout=PATIENCE, check=True)
    for name in ("cert.pem", "key.pem"):
        settings = settings.replace(name, str(tmp_path / name))
    (tmp_path / "dask").mkdir()
    (tmp_path / "dask" / "tls.yaml").write_text(settings)
    environment = {**ENVIRONMENT, "DASK_CONFIG": str(tmp_path / "dask")}
    address = f"127.0.0.1:{free_port}"
    scheduler, worker, restore = start.replace("10.0.0.1:8786", address).strip().splitlines()
    np.save(tmp_path / "stack.npy", planes(3, side=32))
    with ExitStack() as stack:
        more = f" --host 127.0.0.1 --port {free_port} --no-dashboard"
        stack.enter_context(running(scheduler + more, tmp_path, environment))
        worker = worker.replace("--nworkers 8", "--nworkers 1 --no-dashboard")
        stack.enter_context(running(worker, tmp_path, environment))
        arguments = restore.replace("napari-blindsr ", "").replace("stack.ome.zarr", "stack.npy")
        arguments = arguments.replace("out.ome.zarr", "out.npy") + " --axes TYX"
        plain = arguments.replace("tls:", "tcp:")
        _until_answered(tmp_path / "scheduler.log")
        refused = _call(plain, tmp_path, ENVIRONMENT)
        assert refused.returncode == 2
        assert not (tmp_path / "out.npy").exists()
        done = _call(arguments, tmp_path, environment)
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "out.npy").shape == (3, 64, 64)


def _until_answered(log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while "Scheduler at:" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "tls://" in log.read_text()


def _call(
    arguments: str, folder: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(arguments),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
