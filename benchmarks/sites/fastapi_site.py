"""The control in Python: FastAPI and pydantic take the same events, check them, answer the same shape, and store nothing.

Twice, since it matters much: `declared` tells FastAPI the type of its answer, which pydantic then writes as JSON at once;
`plain` returns the same objects without telling, and FastAPI walks through them.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field


class Device(BaseModel):
    """``system.device``."""

    ip: str | None = None
    resolution: str | None = None
    viewport: str | None = None
    language: str | None = None


class Page(BaseModel):
    """``system.page``."""

    url: str | None = None
    title: str | None = None
    referrer: str | None = None
    encoding: str | None = None


class System(BaseModel):
    """``system``."""

    cookies: dict[str, str] = {}
    device: Device | None = None
    page: Page | None = None


class Event(BaseModel):
    """An Event Object."""

    client: dict[str, Any]
    system: System | None = None


class Events(BaseModel):
    """The payload."""

    events: list[Event] = Field(min_length=1, max_length=1000)


class Result(BaseModel):
    """A Result Object."""

    fetch: list[Any] = []
    execute: list[str] = []
    returned: dict[str, Any] = Field(default={}, serialization_alias="return")
    cookies: dict[str, Any] = {}


class Receipt(BaseModel):
    """The receipt."""

    id: str
    time_recorded: int
    durability: str
    accepted: int
    rejected: int


class Answer(BaseModel):
    """The answer."""

    results: list[Result]
    receipt: Receipt


declared, plain = FastAPI(), FastAPI()


@declared.post("/zaraz/api")
async def take(payload: Events) -> Answer:
    """Answer one empty Result Object for each event."""
    return _answer(len(payload.events))


@plain.post("/zaraz/api", response_model=None)
async def take_plainly(payload: Events):  # type: ignore[no-untyped-def] # what it returns is not told: that is the case
    """Answer the same."""
    return _answer(len(payload.events))


def _answer(count: int) -> Answer:
    receipt = Receipt(
        id=uuid.uuid4().hex, time_recorded=time.time_ns() // 1_000_000, durability="none", accepted=count, rejected=0
    )
    return Answer(results=[Result() for _ in range(count)], receipt=receipt)
