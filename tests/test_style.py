"""What no linter checks of the program's style."""

import ast
from pathlib import Path

PROGRAM = Path(__file__).parent.parent / "processor"
MAX_FUNCTION_LINES = 60


def test_functions_are_short() -> None:
    """No function of the program has more than 60 lines, its signature and docstring included."""
    functions = [
        (path.relative_to(PROGRAM.parent).as_posix(), node)
        for path in sorted(PROGRAM.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lengths = {
        f"{path}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path, node in functions
    }

    assert len(functions) > 1_000
    assert {} == {place: lines for place, lines in lengths.items() if lines > MAX_FUNCTION_LINES}
