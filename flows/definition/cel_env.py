"""The evaluator of expressions, with its types and ours. The only module that imports it: 15 MiB, which a process that
evaluates nothing does without. Imported by flows/definition/expr.py inside functions.
"""

from __future__ import annotations

from functools import lru_cache

from cel_expr_python import cel
from cel_expr_python.ext import ext_encoders, ext_math, ext_optional

from flows.definition import cel_wire, expr_functions

_T = cel.Type
ERROR = _T.ERROR
TYPES = {
    "any": _T.DYN,
    "string": _T.STRING,
    "integer": _T.INT,
    "boolean": _T.BOOL,
    "object": _T.Map(_T.STRING, _T.DYN),
    "array": _T.List(_T.DYN),
    "map": _T.Map(_T.DYN, _T.DYN),
    "strings": _T.List(_T.STRING),
}


def _functions() -> list[cel.FunctionDecl]:
    declared = []
    for name, overloads in expr_functions.TABLE.items():
        made = []
        for id_, result, params, impl in overloads:
            member = name not in (cel_wire.ORDERED, cel_wire.KNOWN)
            made.append(cel.Overload(id_, TYPES[result], [TYPES[p] for p in params], member, impl))
        declared.append(cel.FunctionDecl(name, made))
    return declared


@lru_cache(maxsize=256)
def env(types: tuple[tuple[str, str], ...], names: tuple[str, ...]) -> cel.Env:
    """What expressions may read: `names`, of any type, and `types`: dotted names of a known one."""
    variables = dict.fromkeys(names, _T.DYN) | {name: TYPES[kind] for name, kind in types}
    extensions = [ext_math.ExtMath(), ext_optional.ExtOptional(), ext_encoders.ExtEncoders()]
    return cel.NewEnv(variables=variables, extensions=extensions, functions=_functions())
