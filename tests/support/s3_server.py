"""S3 for tests: moto's server, which is a Python package, and MinIO, which Go builds from its source.

moto works on one request at a time here: its check for ``If-None-Match`` and the put that follows are not one
step. Both servers die with the process that started them, however that ends (``setpriv --pdeathsig``).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

from tests.support.zookeeper_server import free_port

KEY_ID = "hyperbase"
SECRET = "hyperbase-secret"
BUCKET = "hyperbase"
READY_S = 60.0
BUILD_S = 1200.0
MINIO = "github.com/minio/minio@latest"

_MOTO = """
import io, sys, threading
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
application, one_at_a_time = DomainDispatcherApplication(create_backend_app), threading.Lock()
def serialized(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    with one_at_a_time:
        return list(application({**environ, "wsgi.input": io.BytesIO(body)}, start_response))
make_server("127.0.0.1", int(sys.argv[1]), serialized, threaded=True).serve_forever()
"""


def minio_path() -> Path:
    """Where ``build_minio`` puts the program: a cache directory outside the checkout."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache, "hyperbase", "bin", "minio")


def build_minio() -> Path:
    """Return MinIO's program; Go builds it when it is not there yet, which takes some minutes."""
    found = shutil.which("minio")
    if found:
        return Path(found)
    program = minio_path()
    if not program.exists():
        assert shutil.which("go"), "MinIO is not here, and Go, which builds it, is missing"
        program.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "GOBIN": str(program.parent)}
        subprocess.run(["go", "install", MINIO], env=environment, check=True, timeout=BUILD_S)
    return program


class S3Server:
    """One server with one bucket; ``kill`` and ``start`` again keep the port. MinIO keeps its data too.

    Args:
        kind: ``moto`` or ``minio``.
    """

    def __init__(self, directory: Path, kind: str) -> None:
        self.directory = directory
        self.kind = kind
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url(self, prefix: str, **options: str) -> str:
        """The ``s3://`` URL of a prefix, with everything a client has to know."""
        known = {
            "endpoint": self.endpoint,
            "region": "us-east-1",
            "access_key_id": KEY_ID,
            "secret_access_key": SECRET,
        }
        return f"s3://{BUCKET}/{prefix}?{urlencode(known | options)}"

    def start(self) -> S3Server:
        """Start, wait until it answers and make the bucket."""
        command = [sys.executable, "-c", _MOTO, str(self.port)]
        if self.kind == "minio":
            data = str(self.directory / "data")
            command = [str(build_minio()), "server", data, "--address", f"127.0.0.1:{self.port}"]
        environment = {**os.environ, "MINIO_ROOT_USER": KEY_ID, "MINIO_ROOT_PASSWORD": SECRET}
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                env=environment | {"MINIO_BROWSER": "off", "MINIO_UPDATE": "off"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wait_until_it_answers()
        self._make_bucket()
        return self

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def client(self) -> Any:
        """A client of botocore, to look behind the file system's back."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
        )

    def __enter__(self) -> S3Server:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def _wait_until_it_answers(self) -> None:
        end = time.monotonic() + READY_S
        path = "/minio/health/ready" if self.kind == "minio" else "/"
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(self.endpoint + path, timeout=5).close()
                return
            assert self.process is not None
            assert self.process.poll() is None, (self.directory / "log").read_text()[-3000:]
            assert time.monotonic() < end, f"{self.kind} did not start within {READY_S:g} s"
            time.sleep(0.05)

    def _make_bucket(self) -> None:
        client = self.client()
        with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=BUCKET)
