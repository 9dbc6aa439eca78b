"""The picture of the demo's screen, docs/demo.svg: `python -m tests.documents.demo_picture` runs it and draws it."""

import re
import sys
from typing import Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests.documents.pages import DOCS
from tests.support.terminal import run_on_terminal

PICTURE: Final = DOCS / "demo.svg"
COLUMNS: Final = 100
_FONT: Final = re.compile(r"\s*@font-face \{\{.*?\}\}", re.DOTALL)  # fetched from elsewhere; a reader's own will do


def picture(screen: str) -> str:
    """An SVG of what stands on a terminal."""
    console = Console(record=True, width=COLUMNS, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(Text("$ make demo\n") + Text.from_ansi(screen.rstrip()))
    return console.export_svg(title="make demo", theme=MONOKAI, code_format=_FONT.sub("", CONSOLE_SVG_FORMAT))


def main() -> None:
    """Run the demo, and keep its screen."""
    done = run_on_terminal([sys.executable, "-P", "-m", "processor", "demo"], columns=COLUMNS)
    if done.code:
        sys.exit(f"the demo ended with {done.code}\n{done.errors}")
    PICTURE.write_text(picture(done.screen.partition("What to try next")[0]))


if __name__ == "__main__":
    main()
