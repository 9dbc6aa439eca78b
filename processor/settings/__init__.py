"""Settings: one frozen model, read once from the environment and a TOML file; all errors are reported at once.

Nothing is read at import. `Settings(...)` by keyword reads neither environment nor file; `load_settings` reads both.
"""

from processor.settings.librdkafka import RESERVED
from processor.settings.load import REMOVED, RENAMED, SettingRow, load_settings, settings_table, without_line_end
from processor.settings.model import (
    FIXED_TOPICS,
    ChannelSettings,
    DeduplicationSettings,
    FixedTopic,
    HttpSettings,
    InputTopic,
    KafkaSettings,
    LogFormat,
    LogLevel,
    LogSettings,
    MessageSettings,
    OutputSettings,
    ReferenceSettings,
    SchemaRegistrySettings,
    Settings,
    SmsSettings,
    Switch,
    TopicSettings,
    WebhookSettings,
)
from processor.settings.secrets import MASK, SECRET_PROPERTY_WORDS, SECRET_WORDS, Properties, is_secret

__all__ = [
    "FIXED_TOPICS",
    "MASK",
    "REMOVED",
    "RENAMED",
    "RESERVED",
    "SECRET_PROPERTY_WORDS",
    "SECRET_WORDS",
    "ChannelSettings",
    "DeduplicationSettings",
    "FixedTopic",
    "HttpSettings",
    "InputTopic",
    "KafkaSettings",
    "LogFormat",
    "LogLevel",
    "LogSettings",
    "MessageSettings",
    "OutputSettings",
    "Properties",
    "ReferenceSettings",
    "SchemaRegistrySettings",
    "SettingRow",
    "Settings",
    "SmsSettings",
    "Switch",
    "TopicSettings",
    "WebhookSettings",
    "is_secret",
    "load_settings",
    "settings_table",
    "without_line_end",
]
