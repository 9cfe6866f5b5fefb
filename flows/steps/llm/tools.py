"""What a model may call: steps of other families that change nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from flows.definition.bindings import Place
from flows.definition.inputs import validate_input
from flows.definition.jsonguard import JsonError, check_json
from flows.steps.base import Action, Done, Fail, Retry, StepContext
from flows.steps.llm.config import opened
from flows.steps.llm.talk import Call, Result

Json = Any
#: characters of a result that the model reads
MAX_RESULT: Final = 32 * 1024
MAX_ARGUMENTS: Final = 64 * 1024


class Misused(Exception):
    """The model called it in a way that cannot be done; the message is for the model."""


def run(ctx: StepContext, tools: Mapping[str, Mapping[str, Json]], call: Call, number: int, left: float) -> Result:
    """Do what the model asks for, if it may. Whatever goes wrong is told to the model."""
    try:
        tool = tools[call.name]
    except KeyError:
        return Result(call, f"There is no tool {call.name[:80]}; there are: {', '.join(tools) or 'none'}.", ok=False)
    try:
        outcome = _execute(ctx, tool, _arguments(tool, call), number, left)
    except Misused as e:
        return Result(call, str(e), ok=False)
    match outcome:
        case Done(output):  # the model is somebody else: it reads no secret of the tool's connection
            output = ctx.masked(output)
            text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
            return Result(call, _bounded(text), ok=True)
        case Fail(error) | Retry(error):
            return Result(call, _bounded(ctx.masked(f"{error.cls}: {error.message}")), ok=False)
    return Result(call, "This tool cannot be used here.", ok=False)


def _arguments(tool: Mapping[str, Json], call: Call) -> Json:
    if len(call.arguments) > MAX_ARGUMENTS:
        raise Misused(f"The arguments have more than {MAX_ARGUMENTS} characters.")
    try:
        given = json.loads(call.arguments or "{}")
        check_json(given, max_bytes=4 * MAX_ARGUMENTS)
        problems = validate_input(tool["parameters"], given)
    except (ValueError, RecursionError, JsonError) as e:
        raise Misused(f"The arguments are not JSON: {e}") from e
    if problems or not isinstance(given, dict):
        said = "; ".join(f"{'.'.join(map(str, p['path']))}: {p['message']}" for p in problems[:5])
        raise Misused(f"The arguments break the schema: {said or 'an object is expected'}")
    return given


def _execute(ctx: StepContext, tool: Mapping[str, Json], args: Json, number: int, left: float) -> object:
    from flows.resolve import ResolveError, resolve_action  # they read the registry, which has this family
    from flows.steps.registry import family

    ((name, config),) = opened(tool["do"]).items()
    try:
        action = resolve_action(
            ctx.step, name, config, {"args": args, "given": tool["given"]}, place=Place(ctx.flow, ctx.test)
        )
    except ResolveError as e:
        raise Misused(e.message) from e
    if family(name).changes(action):
        raise Misused("This tool would change something, which needs an approval; it was not used.")
    return family(name).execute(_inside(ctx, action, number, left))


def _inside(ctx: StepContext, action: Action, number: int, left: float) -> StepContext:
    return replace(ctx, action=action, key=f"{ctx.key}:tool:{number}", timeout=left, tail=lambda text: None)


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_RESULT else f"{text[:MAX_RESULT]}… (cut: it has {len(text)} characters)"
