"""One attempt at a database: a session, what is done in it, and what its errors mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flows.steps.base import Done, Fail, Json, Outcome, Retry, StepContext, StepError
from flows.steps.db import cells, errors, reading, sql, values, writing
from resources.connections import ConnectionRef
from resources.databases import engines
from resources.databases.reach import TooSlow, Unreachable
from resources.databases.session import Session, session
from resources.errors import OrchestraError, TooLarge

_CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}


def work(ctx: StepContext, ref: ConnectionRef) -> Outcome:
    """Never raises what a database can do."""
    if refused := _not_by_mysql(ctx, ref):
        return refused
    try:
        ctx.mask(engines.access_of(ref).password)
        return _attempt(ctx, ref, again=True)
    except TooSlow:
        return Retry(StepError("timeout", f"{ref.name}: there was no session within {ctx.timeout:g} s."), acted=False)
    except Unreachable as e:
        return Retry(StepError("connect", f"{ref.name}: {e.message} {e.hint}".strip()), acted=False)
    except OrchestraError as e:
        return Fail(StepError("limit" if isinstance(e, TooLarge) else "refused", f"{ref.name}: {e.message}"))


def _attempt(ctx: StepContext, ref: ConnectionRef, *, again: bool) -> Outcome:
    import sqlalchemy.exc

    config, opened = ctx.action.config, None
    try:
        with session(ref, write=config["write"], seconds=ctx.remaining(), stop=ctx.cancelled) as opened:
            return _write(ctx, opened) if config["write"] else _read(ctx, opened)
    except (cells.TooLong, writing.Broken) as e:
        found = e.meaning if isinstance(e, writing.Broken) else errors.Meaning("limit", str(e))
        return errors.outcome(found, ref.name, acted=False)
    except (sqlalchemy.exc.SQLAlchemyError, UnicodeError, OSError) as e:
        cause = getattr(e, "orig", None) or e
        if again and config["write"] and config["idempotent"] and _lacks_table(ref, config["key_table"], cause):
            _make_table(ctx, ref)
            return _attempt(ctx, ref, again=False)
        return _failed(ctx, ref, opened, cause)


def _failed(ctx: StepContext, ref: ConnectionRef, opened: Session | None, cause: BaseException) -> Outcome:
    config = ctx.action.config
    acted = opened is not None and (opened.committing or _committed_itself(ref.kind, config))
    why = opened.watch.why if opened is not None else ""
    if why:
        said = f"{ctx.timeout:g} s were up" if why == "timeout" else "it was asked to stop"
        ended = "whether it was committed is unknown" if acted else "nothing was changed"
        return Retry(StepError("timeout", f"{ref.name}: {said}; {ended}."), acted=acted)
    found = errors.meaning(ref.kind, cause)
    if acted and opened is not None and opened.committing:
        said = f"The connection broke while the change was committed; it may have happened. {found.message}"
        found = errors.Meaning("network", said, again=True, details=found.details)
    elif found.cls == "network" and config["write"] and not acted:
        said = f"{found.message} That was before the commit: nothing was changed."
        found = errors.Meaning("network", said, again=found.again, details=found.details)
    elif found.cls == "timeout":
        found = errors.Meaning("timeout", f"{ctx.timeout:g} s were up. {found.message}", again=True)
    return errors.outcome(found, ref.name, acted=acted)


def _committed_itself(kind: str, config: Json) -> bool:
    return config["write"] and any(sql.commits_itself(sql.read(text), kind) for text in config["statements"])


def _not_by_mysql(ctx: StepContext, ref: ConnectionRef) -> Outcome | None:
    """What a transaction of MySQL does not hold, or not keep from happening."""
    config = ctx.action.config
    if ref.kind != "mysql":
        return None
    if not config["write"]:
        if sql.is_read(sql.read(config["query"])):
            return None
        return Fail(StepError("refused", f"{ref.name}: {errors.WRITES} A query begins with SELECT, WITH or SHOW."))
    alone = len(config["statements"]) == 1 and not config["idempotent"]
    promises = config["expect"] is not None or config["max_changed"] is not None
    if (not alone or promises) and _committed_itself("mysql", config):
        said = "MySQL commits such a statement by itself: give it alone, without idempotent, expect and max_changed."
        return Fail(StepError("input", f"{ref.name}: {said}"))
    return None


def _read(ctx: StepContext, opened: Session) -> Outcome:
    config = ctx.action.config
    bound = values.bind(opened.kind, config["query"], config["params"])
    result = opened.execute(bound.text, bound.params, expand=bound.lists, stream=True)
    try:
        if not result.returns_rows:
            return Fail(StepError("input", "The query gives no rows; what changes data is `execute`."))
        rows = reading.Rows(config, cells.columns_of(result.keys()))
        resource = None
        if config["rest"] == "resource":
            resource = ctx.store(
                _told(ctx, reading.lines(result, rows, lambda n: ctx.progress(f"{n} rows read", None))),
                name=f"{ctx.step}.{config['format']}", content_type=_CONTENT_TYPES[config["format"]],
            )  # fmt: skip
        else:
            reading.first_of(result, rows)
    finally:
        opened.leave(result)
    output = rows.output(resource)
    more = "; the output has the first, the file all" if resource else ", more are left out"
    ctx.log(f"{output['row_count']} rows read" + (more if rows.truncated else ""))
    return Done(output)


def _told(ctx: StepContext, chunks: Iterator[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        if ctx.cancelled.is_set():
            raise OSError("Asked to stop.")
        yield chunk


def _write(ctx: StepContext, opened: Session) -> Outcome:
    output, earlier = writing.run(opened, ctx.action.config, ctx.key)
    ctx.log("done by an earlier attempt; nothing was done" if earlier else f"{output['changed']} rows changed")
    return Done(output)


def _lacks_table(ref: ConnectionRef, table: str, cause: Any) -> bool:
    return writing.table_missing(ref.kind, table, cause)


def _make_table(ctx: StepContext, ref: ConnectionRef) -> None:
    """Two may try at once: the second finds it there, which its next error would tell."""
    import sqlalchemy.exc

    try:
        with session(ref, write=True, seconds=ctx.remaining(), stop=ctx.cancelled) as opened:
            writing.create_table(opened, ctx.action.config["key_table"])
    except sqlalchemy.exc.DBAPIError as e:
        ctx.log(f"The table {ctx.action.config['key_table']} was not made: {e.orig}")
