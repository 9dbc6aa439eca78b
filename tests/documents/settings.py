"""docs/reference/settings.md."""

from typing import Final

from processor.settings import settings_table
from tests.documents.markdown import default_text, page, table

_INTRODUCTION: Final = """\
Each setting is an environment variable, or stands in the TOML file that `PROCESSOR_CONFIG` names: there in lower case,
without the prefix, and in a table for what stands before `__`. The environment wins. A misspelt variable is an error,
which names the nearest.

```toml
tenant = "northbank"

[kafka]
bootstrap_servers = "kafka-1.example.com:9092"

[deduplication]
age_s = 86400
```

`processor settings` shows what is set, and where; secrets are masked. A line end behind a value, as a mounted secret
has one, is taken off."""


def settings_page() -> str:
    """A row for each setting."""
    rows = ((f"`{row.variable}`", default_text(row.default), row.meaning) for row in settings_table())
    return page("Settings", _INTRODUCTION, table(("Variable", "Default", "Meaning"), rows))
