"""The real tritonserver with its Python backend, from the package nvidia-pytriton."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

PACKAGE = Path(sys.prefix) / "tritonserver"
"""Where `make test-engines` unpacks the package, which requires an older numpy."""
PACKAGES = PACKAGE / "packages"
"""numpy 1, for which this server's Python backend was built."""
_SECONDS_TO_START = 300
_FIRST_PORT, _LAST_PORT = 20_000, 32_000
"""Linux gives ports from 32,768 on to outgoing connections."""
_WORKERS = 8


@dataclass(frozen=True)
class Server:
    """A running server."""

    http: str
    grpc: str
    process: subprocess.Popen[bytes]
    log: Path

    def ready(self) -> bool:
        """Whether all models are loaded."""
        try:
            with urlopen(f"http://{self.http}/v2/health/ready", timeout=5) as response:
                return bool(response.status == 200)
        except (URLError, ConnectionError):
            return False


def _free_ports(count: int) -> list[int]:
    """Ports that no other process takes until the server opens them, after loading its models.

    They are below those that the system gives to outgoing connections, and each worker of pytest
    has its own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    share = (_LAST_PORT - _FIRST_PORT) // _WORKERS
    ports = [_FIRST_PORT + worker * share + place for place in range(share)]
    random.shuffle(ports)
    return list(itertools.islice(filter(_is_free, ports), count))


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("", port))
        except OSError:
            return False
    return True


def _python_backend(folder: Path) -> Path:
    """A backend folder with the stub and the packages of this Python.

    The stub runs an isolated Python: it searches the system's packages and this folder only.
    """
    shipped = PACKAGE / "pytriton/tritonserver"
    shutil.copytree(shipped / "backends", folder)
    stub = (
        shipped
        / "python_backend_stubs"
        / f"{sys.version_info.major}.{sys.version_info.minor}/triton_python_backend_stub"
    )
    shutil.copy(stub, folder / "python")
    (folder / "python" / stub.name).chmod(0o755)
    (shipped / "bin/tritonserver").chmod(0o755)
    for packages in (PACKAGES, Path(sysconfig.get_path("purelib"))):
        for package in packages.iterdir():
            if not (folder / "python" / package.name).exists():
                (folder / "python" / package.name).symlink_to(package)
    return folder


@contextmanager
def tritonserver(repository: Path, folder: Path, *options: str) -> Iterator[Server]:
    """A running server of a model repository; skips the test where none is installed.

    Args:
        repository: the models.
        folder: a new folder for the server's files and its log.
        options: further command-line options of tritonserver.
    """
    if not PACKAGE.is_dir():
        pytest.skip("tritonserver is not installed; make test-engines does that")
    if not PACKAGES.is_dir():
        pytest.skip("this tritonserver requires numpy 1, which is not installed")
    folder.mkdir()
    http, grpc, metrics = _free_ports(3)
    command = [
        str(PACKAGE / "pytriton/tritonserver/bin/tritonserver"),
        f"--model-repository={repository}",
        f"--backend-directory={_python_backend(folder / 'backends')}",
        f"--http-port={http}",
        f"--grpc-port={grpc}",
        f"--metrics-port={metrics}",
        "--exit-timeout-secs=3",
        f"--backend-config=python,shm-region-prefix-name=tf-exporter-{os.getpid()}-{http}",
        *options,
    ]
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(PACKAGE / "nvidia_pytriton.libs"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
    try:
        server = Server(f"localhost:{http}", f"localhost:{grpc}", process, log)
        started = time.monotonic()
        while not server.ready():
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() - started < _SECONDS_TO_START, log.read_text(errors="replace")
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def post(
    server: Server, body: bytes, headers: dict[str, str] | None = None, name: str = "source"
) -> tuple[int, Any]:
    """The status and answer of an HTTP request."""
    address = f"http://{server.http}/v2/models/{name}/infer"
    request = Request(address, body, headers or {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=60) as response:  # noqa: S310  # our own server
            return response.status, json.loads(response.read())
    except HTTPError as error:
        return error.code, json.loads(error.read())


def as_json(texts: list[str], **parameters: str) -> bytes:
    data = {"name": "input_sequence", "shape": [len(texts), 1], "datatype": "BYTES", "data": texts}
    return json.dumps({"inputs": [data], "parameters": parameters}).encode()


_BYTES = b'{"inputs": [{"name": "input_sequence", %b}]}'
GARBAGE = [
    b"{",
    b"\xff\xfe\x00",
    b'{"inputs": []}',
    b'{"inputs": [{"name": "nothing", "shape": [1, 1], "datatype": "BYTES", "data": ["a"]}]}',
    b'{"inputs": [{"name": "input_sequence", "shape": [1, 1], "datatype": "FP32", "data": [1.5]}]}',
    _BYTES % b'"shape": [2, 1], "datatype": "BYTES", "data": ["a"]',
    _BYTES % b'"shape": [1, 2], "datatype": "BYTES", "data": ["a", "b"]',
    _BYTES % b'"shape": [-1, 1], "datatype": "BYTES", "data": ["a"]',
    b'{"inputs": [{"name": "input_sequence", "shape": [65, 1], "datatype": "BYTES", "data": ['
    + b'"a",' * 64
    + b'"a"]}]}',
    as_json(["a"], signature="no_such_signature"),
]
"""Requests that have to be refused."""
