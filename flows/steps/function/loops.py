"""Values that contain themselves. Out of the sandbox such a place comes as the text "[...]", as a program that prints
it would show it, and so may a text of the author's. Pure."""

from __future__ import annotations

import ast
from typing import Any, Final

#: what stands for a list, a dict or a tuple within itself
_MARKS: Final = frozenset({"[...]", "{...}", "(...)"})
_CHECK: Final = """
def __loops(value, above):
    if isinstance(value, dict):
        inner = list(value.values())
    elif isinstance(value, (list, tuple)):
        inner = list(value)
    else:
        return False
    for one in above:
        if one is value:
            return True
    for one in inner:
        if __loops(one, above + [value]):
            return True
    return False
__loops(__value, [])
"""


def may_loop(value: Any) -> bool:
    """Is there a text that may stand for a loop?"""
    if isinstance(value, str):
        return value in _MARKS
    if isinstance(value, dict):
        return any(map(may_loop, value.values()))
    return isinstance(value, list | tuple) and any(map(may_loop, value))


def asking(code: str) -> str | None:
    """The program that tells whether the value of `code` contains itself; None where that cannot be asked."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not tree.body or not isinstance(tree.body[-1], ast.Expr):
        return None
    tree.body[-1] = ast.Assign([ast.Name("__value", ast.Store())], tree.body[-1].value, lineno=1)
    return ast.unparse(tree) + _CHECK
