"""Settings from the environment and a TOML file: read once, checked, and printed with where each came from."""

import os
import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from processor.domain.diagnostic import Diagnostic
from processor.domain.text import closest_match, did_you_mean
from processor.errors import UsageError
from processor.files import UnfitError, file_text
from processor.settings.librdkafka import client_error
from processor.settings.model import PREFIX, Settings, SettingsTable
from processor.settings.secrets import MASK, Properties

SettingPath = tuple[str, ...]  #: ("kafka", "bootstrap_servers")

OTHER_VARIABLES: Final[Mapping[str, str]] = {  # read elsewhere than in the model, so no misspelling
    "PROCESSOR_CONFIG": "TOML file with settings; the environment wins over it.",
    "PROCESSOR_KAFKA_HOME": "Folder of Apache Kafka jars that are already there, for `processor kafka` and the demo.",
}

RENAMED: Final[Mapping[str, str]] = {  # former name -> name
    "PROCESSOR_WINDOW__RECORDS": "PROCESSOR_DEDUPLICATION__RECORDS",
    "PROCESSOR_WINDOW__AGE_S": "PROCESSOR_DEDUPLICATION__AGE_S",
    "PROCESSOR_SLOT": "PROCESSOR_INSTANCE_ID",
    "PROCESSOR_MAX_UNREADABLE_SHARE": "PROCESSOR_MAX_REJECTED_RATIO",
    "PROCESSOR_BREAKER": "PROCESSOR_CIRCUIT_BREAKER",
    "PROCESSOR_CHANNELS__OFF": "PROCESSOR_CHANNELS__DISABLED",
    "PROCESSOR_CHANNELS__MATRIX": "PROCESSOR_CHANNELS__OVERRIDES",
    "PROCESSOR_MESSAGE__ON_MISSING": "PROCESSOR_REFERENCE__MISSING_ROW",
}
REMOVED: Final = frozenset(f"PROCESSOR_TOPICS__{name}" for name in ("COMMANDS", "FEEDBACK", "LEDGER", "TASKS"))
"""Former settings that nothing reads."""

# Kubernetes injects these for every Service of the namespace; one named processor-… would look like our settings.
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_INJECTED: Final = re.compile(r"PROCESSOR_(?:(?:(?!__).)+_)?(?:SERVICE_(?:HOST|PORT.*)|PORT(?:_.*)?)")


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One line of `processor settings`. Values are as people see them: masked, None when there is none."""

    variable: str  #: PROCESSOR_KAFKA__BOOTSTRAP_SERVERS
    name: str  #: kafka.bootstrap_servers, its place in a TOML file; empty where it has none
    value: Any
    default: Any
    source: str  #: `environment`, `default` or the file's path
    meaning: str


@dataclass(frozen=True, slots=True)
class _Setting:
    """One setting of the model: its path, and its field there."""

    path: SettingPath
    field: FieldInfo

    @property
    def variable(self) -> str:
        return _variable(self.path)

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def has_properties(self) -> bool:
        return isinstance(self.field.default, Properties)

    @property
    def is_path(self) -> bool:
        return bool(self.field.annotation == Path | None)

    def display(self, value: Any) -> Any:
        """A value as people may see it."""
        if value is None:
            return None
        if self.has_properties:
            return Properties(value).masked() if isinstance(value, Mapping) else MASK
        if self.field.annotation == SecretStr | None:
            return MASK
        if isinstance(value, str):
            return re.sub(r"[^/@]*@", f"{MASK}@", value)
        return str(value) if isinstance(value, Path) else value


def _variable(path: SettingPath) -> str:
    """The environment variable of a setting."""
    return PREFIX + "__".join(path).upper()


def _path(variable: str) -> SettingPath:
    """The path of a setting in a TOML file."""
    return tuple(variable.removeprefix(PREFIX).lower().split("__"))


def _settings(model: type[BaseModel] = Settings, above: SettingPath = ()) -> Iterator[_Setting]:
    for name, field in model.model_fields.items():
        if isinstance(field.default, SettingsTable):
            yield from _settings(type(field.default), (*above, name))
        else:
            yield _Setting((*above, name), field)


SETTINGS: Final[Mapping[SettingPath, _Setting]] = {setting.path: setting for setting in _settings()}
_VARIABLES: Final = (*(setting.variable for setting in SETTINGS.values()), *OTHER_VARIABLES)


class _Environment(EnvSettingsSource):
    """Text that is not JSON where JSON belongs is passed on as it is, so that the model names setting and place."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """The value of JSON text, else the text."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except (ValueError, RecursionError):
            return value


@dataclass(frozen=True, slots=True)
class _RawSettings:
    """What people set: raw values by the path of the setting, where each was found, and what is wrong."""

    values: Mapping[SettingPath, Any]
    sources: Mapping[SettingPath, str]
    errors: tuple[Diagnostic, ...] = ()

    def nested(self) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for (*above, last), value in self.values.items():
            table = tree
            for name in above:
                table = table.setdefault(name, {})
            table[last] = value
        return tree


def load_settings() -> Settings:
    """Read environment and the file that PROCESSOR_CONFIG names, the environment first. Blocks for the file only.

    Raises UsageError with every error found, each with its value (masked), its place and a hint.
    """
    return _validate(_read_sources())


def settings_table() -> tuple[SettingRow, ...]:
    """All settings as they stand, in the order of the model. Raises UsageError as `load_settings` does."""
    raw = _read_sources()
    settings = _validate(raw)
    return (
        *(
            SettingRow(
                setting.variable,
                setting.name,
                setting.display(_value_at(settings, setting.path)),
                setting.display(setting.field.default),
                raw.sources.get(setting.path, "default"),
                setting.field.description or "",
            )
            for setting in SETTINGS.values()
        ),
        *(_other_row(variable, meaning) for variable, meaning in OTHER_VARIABLES.items()),
    )


def _other_row(variable: str, meaning: str) -> SettingRow:
    value = without_line_end(os.environ.get(variable, "")) or None
    return SettingRow(variable, "", value, None, "environment" if value else "default", meaning)


def without_line_end(text: str) -> str:
    """A setting without the line end that a mounted secret, or a file that was read into a variable, has behind it."""
    return text.rstrip("\r\n")


# ------------------------------------------------------------------------------------------------------- the sources


def _read_sources() -> _RawSettings:
    """Environment over file. Unknown names are errors; they are not among the values."""
    values: dict[SettingPath, Any] = {}
    sources: dict[SettingPath, str] = {}
    errors: list[Diagnostic] = []
    if file := without_line_end(os.environ.get("PROCESSOR_CONFIG", "")):
        for path, value in _flatten(_read_toml(Path(file))):
            if path in SETTINGS:
                values[path], sources[path] = value, file
            else:
                errors.append(_unknown_in_file(path, file))
    errors += _unknown_variables()
    for path, value in _environment_values():
        values[path], sources[path] = value, "environment"
    for path, value in list(values.items()):
        if isinstance(value, str):
            values[path] = without_line_end(value)
        if message := _unprintable(SETTINGS[path], values[path]):
            errors.append(_setting_error(_RawSettings(values, sources), path, message))
            del values[path]
    return _RawSettings(values, sources, tuple(errors))


def _environment_values() -> Iterator[tuple[SettingPath, Any]]:
    # Compose passes VARIABLE= for one that is not set.
    present = {name.upper() for name, value in os.environ.items() if without_line_end(value)}
    parsed = _Environment(Settings)()
    for path, setting in SETTINGS.items():
        if setting.variable in present:
            yield path, _value_at(parsed, path)


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file_text(file))
    except (OSError, UnfitError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"PROCESSOR_CONFIG='{file}' in the environment: {why.lower()}",
            hint="name a TOML file that can be read, or leave the variable out",
        ) from error
    except (ValueError, RecursionError) as error:  # Python's own too: a number of thousands of digits
        raise UsageError(
            f"{file}, named by PROCESSOR_CONFIG, is not TOML: {error}", hint="see https://toml.io; text must be quoted"
        ) from error


def _flatten(table: Mapping[str, Any], above: SettingPath = ()) -> Iterator[tuple[SettingPath, Any]]:
    """The settings in a TOML table, by their paths; former ones too."""
    former = (_path(variable) for variable in (*RENAMED, *REMOVED))
    tables = {path[:depth] for path in (*SETTINGS, *former) for depth in range(1, len(path))}
    for name, value in table.items():
        path = (*above, name)
        if isinstance(value, Mapping) and path in tables:
            yield from _flatten(value, path)
        else:
            yield path, value


def _unprintable(setting: _Setting, value: object) -> str:
    """Why no setting may have a value, before the setting's own rules are applied; empty when it may."""
    lines = "\n\r\t" if setting.has_properties else ""  # certificates, such as ssl.ca.pem, have lines
    for text in _texts(value):
        for character in text:
            if unicodedata.category(character) == "Cc" and character not in lines:
                return "holds a control character"
            if "\ud800" <= character <= "\udfff" and not setting.is_path:  # a path may be any bytes
                return "holds bytes that are not UTF-8"
    return ""


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for name, inner in value.items():
                yield from _texts(name)
                yield from _texts(inner)
        case list():
            for inner in value:
                yield from _texts(inner)


# ----------------------------------------------------------------------------------------------------- what is wrong


def _unknown_variables() -> Iterator[Diagnostic]:
    for name in sorted(os.environ):
        variable = name.upper()
        if variable.startswith(PREFIX) and variable not in _VARIABLES and not _INJECTED.fullmatch(variable):
            yield _unknown(name, "the environment", variable, {setting: setting for setting in _VARIABLES})


def _unknown_in_file(path: SettingPath, file: str) -> Diagnostic:
    names = {setting.variable: setting.name for setting in SETTINGS.values()}
    return _unknown(".".join(path), file, _variable(path), names)


def _unknown(name: str, place: str, variable: str, spelling: Mapping[str, str]) -> Diagnostic:
    """The error for a `name` that is no setting: a former one, or a misspelt one.

    `variable` is what it is called in the environment; `spelling` is how each setting is written at `place`, by its
    variable.
    """
    if variable in REMOVED:
        return Diagnostic(message=f"{name} in {place} was removed: nothing uses it", hint="leave it out")
    if current := RENAMED.get(variable):
        return Diagnostic(message=f"{name} in {place} was renamed", hint=f"it is {spelling[current]} now")
    near = closest_match(variable.removeprefix(PREFIX), [name.removeprefix(PREFIX) for name in spelling])
    return Diagnostic(
        message=f"{name} in {place} is not a setting",
        hint=did_you_mean(near and spelling[PREFIX + near], otherwise="`processor settings` lists all settings"),
    )


def _validate(raw: _RawSettings) -> Settings:
    errors = list(raw.errors)
    settings: Settings | None = None
    try:
        settings = Settings(**raw.nested())
    except ValidationError as invalid:
        errors += [_setting_error(raw, error["loc"], error["msg"]) for error in invalid.errors(include_url=False)]
    else:
        errors += _client_errors(settings, raw)
    if errors or settings is None:
        raise _usage_error(errors)
    return settings


def _client_errors(settings: Settings, raw: _RawSettings) -> Iterator[Diagnostic]:
    """Properties whose name or value the client does not know, before anything connects."""
    for setting in SETTINGS.values():
        properties = _value_at(settings, setting.path) if setting.has_properties else None
        if properties and (error := client_error(properties)):
            yield _setting_error(raw, setting.path, error)


def _setting_error(raw: _RawSettings, location: Sequence[int | str], message: str) -> Diagnostic:
    """What is wrong with the setting at, or above, a `location` in the model."""
    message = message.removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    setting = next((setting for path, setting in SETTINGS.items() if path == tuple(location[: len(path)])), None)
    if setting is None:  # of a whole table
        return Diagnostic(
            message=message, hint=f"see the settings PROCESSOR_{'__'.join(map(str, location)).upper() or 'TOPICS'}__…"
        )
    value = setting.display(raw.values.get(setting.path))
    if isinstance(value, Mapping):
        value = dict.fromkeys(value, MASK)  # a name that is misspelt does not show whether its value is a secret
    source = raw.sources.get(setting.path, "environment")
    written = (
        f"{setting.variable}={value!r} in the environment"
        if source == "environment"
        else f"{setting.name} = {value!r} in {source}"
    )
    default = "" if setting.field.default is None else f" Default: {setting.display(setting.field.default)}"
    hint = "leave the property out" if "is reserved: " in message else f"{setting.field.description}{default}"
    return Diagnostic(message=f"{written}: {message}", hint=hint)


def _usage_error(errors: Sequence[Diagnostic]) -> UsageError:
    """One error of them all, each with its hint."""
    *others, last = errors
    return UsageError(
        "\n".join((*(f"{error.message}\nhint: {error.hint}" for error in others), last.message)), hint=last.hint
    )


def _value_at(tree: Any, path: SettingPath) -> Any:
    for name in path:
        tree = tree[name] if isinstance(tree, Mapping) else getattr(tree, name)
    return tree
