"""Check at start how the owner's functions will be called: their arguments, and that a call runs them.

Only what cannot work is refused: a function whose signature does not show (a wrapper with ``*args``, one in C) passes.

Layer: pure rules.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from eventmw.tracebacks import definition

ASYNC_ADVICE = "nothing awaits it: write def"


def problems(
    function: object,
    named: str,
    arguments: Sequence[str],
    *,
    may_be_async: bool = False,
    may_yield: bool = False,
    advice: str = ASYNC_ADVICE,
) -> Iterator[str]:
    """Return one sentence for each reason why a call with these arguments cannot work.

    Args:
        function: what the owner gave.
        named: how messages call it: ``handle``, ``the function``.
        arguments: the names of the positional arguments it is called with.
        may_be_async: whether it is awaited.
        may_yield: whether what it yields is read.
        advice: what to do instead of ``async def``.
    """
    shape = f"def {_name(function)}({', '.join(arguments)})"
    if isinstance(function, type):
        yield f"{named} is the class {function.__name__}, and a function was expected: {shape}"
        return
    if not callable(function):
        yield f"{named} is {type(function).__name__}, and a function was expected: {shape}"
        return
    place = definition(function)
    where = f" ({place})" if place else ""
    plain = _plain(function)
    if _is(plain, inspect.isasyncgenfunction):
        yield f"{named} is an async generator{where}, which nothing reads: write {shape}"
    elif _is(plain, inspect.iscoroutinefunction) and not may_be_async:
        yield f"{named} is async def{where}, and {advice}"
    elif _is(plain, inspect.isgeneratorfunction) and not may_yield:
        yield f"{named} has a yield{where}, so a call of it runs nothing: leave the yield out"
    if (taken := _taken(function, len(arguments))) is not None:
        count = "one argument" if len(arguments) == 1 else f"{len(arguments)} arguments"
        yield f"{named} takes {taken}{where}, and is called with {count}: write {shape}"


def _plain(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _is(function: Any, asked: Any) -> bool:
    return bool(asked(function) or (not inspect.isroutine(function) and asked(type(function).__call__)))


def _name(function: object) -> str:
    name = getattr(function, "__name__", "")
    return name if isinstance(name, str) and name.isidentifier() else "name"


def _taken(function: Any, count: int) -> str | None:
    """Return which parameters a function has, when it cannot be called with so many arguments; None when it can."""
    try:
        # What a decorator wraps may take more, which the wrapper adds: the wrapper is what is called.
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(*[None] * count)
    except TypeError:
        names: list[str] = []
        for name, spec in signature.parameters.items():
            if spec.kind is spec.KEYWORD_ONLY and "*" not in names:
                names.append("*")
            names.append(name)
        return f"({', '.join(names)})" if names else "no argument"
    return None
