"""The runtime of one site in one test: the owner's settings, tools and consumers, a journal in memory, and no thread.

Layer: input and output.
"""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from eventmw import engine as engines
from eventmw.config import Config
from eventmw.contract import BoundTool, pack_singly, verdict_by_status
from eventmw.delivery.driver import Work
from eventmw.delivery.duplicates import Duplicates
from eventmw.delivery.holds import Watch
from eventmw.delivery.pacer import Pacer
from eventmw.delivery.shift import Shift
from eventmw.effects import Effect, Send
from eventmw.errors import Refused
from eventmw.event import Event
from eventmw.http import Headers, HttpRequest, Reply
from eventmw.intake.door import Visit
from eventmw.journal import Lease, Position
from eventmw.keys import Key
from eventmw.outcome import Outcome
from eventmw.protocols.zaraz import Accepted
from eventmw.runtime import Keepable, Runtime
from eventmw.testing.vendors import stamped
from eventmw.tracking import TRACKED

if TYPE_CHECKING:
    from eventmw.testing.capture import Captured


class _Keys:
    """The keys of a test, and those that the test made through the EventBunker API of its site."""

    def __init__(self, own: Mapping[str, Key], others: Any) -> None:
        self._own = own
        self._others = others

    def find(self, shown: str) -> Key | None:
        """Return the key that this secret stands for, or None."""
        return self._own.get(shown) or cast("Key | None", self._others.find(shown))

    def lists(self, origin: str) -> bool:
        """Return whether any key may be used by pages of this browser origin."""
        return any(origin in key.origins for key in self._own.values()) or bool(self._others.lists(origin))

    def lookup(self, shown: str) -> Future[None] | None:
        """Have the site's own keys looked at for one that is not known yet; None when there is no need."""
        return None if shown in self._own else cast("Future[None] | None", self._others.lookup(shown))

    def lookup_id(self, key_id: str) -> Future[None] | None:
        """Do as `lookup` does, for the id of a key."""
        return cast("Future[None] | None", self._others.lookup_id(key_id))

    def lookup_origin(self, origin: str) -> Future[None] | None:
        """Do as `lookup` does, for a browser origin."""
        return cast("Future[None] | None", self._others.lookup_origin(origin))


class _ObservedApi:
    """An API of a site that reports what it refuses."""

    def __init__(self, api: Any, note: Callable[[Refused, str, bytes | None], None]) -> None:
        self._api = api
        self._note = note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    def accept(self, body: bytes, visit: Any, /) -> Any:
        """Judge a whole body."""
        try:
            return self._api.accept(body, visit)
        except Refused as refused:
            self._note(refused, self._api.path, body)
            raise

    def refuse(self, refused: Refused, cors: Headers, /) -> Reply:
        """Answer a request that is refused as a whole."""
        self._note(refused, self._api.path, None)
        return cast(Reply, self._api.refuse(refused, cors))


class CapturedRuntime(Runtime):
    """The runtime of one site in one test. It starts no thread and opens no socket.

    Args:
        config: the site's own settings.
        events: the capture.

    Attributes:
        bare: the tools as they are bound; `engine` has them with what they raise reported.
    """

    def __init__(self, config: Config, events: Captured) -> None:
        # Only the archive and the keys need a folder. The other one is never made.
        self._folder = tempfile.mkdtemp(prefix="eventmw-test-") if config.eventbunker_path else None
        unused = Path(tempfile.gettempdir(), f"eventmw-test-{id(self):x}-unused")
        try:
            super().__init__(
                dataclasses.replace(
                    config,
                    journal="memory",
                    courier="thread",
                    archive=None,
                    dry_run=False,
                    data_dir=self._folder or str(unused),
                )
            )
        except BaseException:
            self._remove_folder()
            raise
        self.events = events
        self.clock = events.clock
        self.polite = False
        self.around = self._observed
        self.bare = {tool.id: tool for tool in self.engine.tools}
        self.engine.tools = tuple(_noting(tool, events.note_error) for tool in self.engine.tools)
        self.engine.answering = tuple(tool for tool in self.engine.tools if tool.answers)
        if self.stores is not None:
            self.keys = _Keys(events.keys, self.stores.ring)
        self._shift: Shift | None = None
        self._task: asyncio.Task[None] | None = None
        self._lease: Lease | None = None

    def start(self) -> None:
        """Start nothing: `Captured.deliver` delivers."""

    def awake(self) -> None:
        """Start nothing."""

    def _start_soon(self) -> None:
        """Start nothing."""

    def drop(self) -> None:
        """Stay: the test reads what was captured after its site is gone."""

    def show(self) -> bool:
        """Open no control channel: commands have no business with a test."""
        return True

    def refit(self, *, clock: object = None, transport: object = None) -> None:
        """Refuse: a test has one clock and one set of vendors.

        Raises:
            RuntimeError: always, except for the test's own clock.
        """
        if clock is not None and clock is not self.clock:
            raise RuntimeError("this site is captured and has a still clock already: use the capture's, events.clock")
        if transport is not None:
            raise RuntimeError("this site is captured, so its deliveries are recorded already: see events.requests()")

    def accept(self, body: bytes, visit: Visit) -> Accepted:
        """Judge a payload, and report what is refused."""
        try:
            return super().accept(body, visit)
        except Refused as refused:
            where = "track" if visit.credential == TRACKED else self.config.path or ""
            self.events.note_refusal(refused, where, body)
            raise

    def append(self, accepted: Keepable) -> Future[Position]:
        """Keep the record of an accepted request, and report it."""
        kept = super().append(accepted)
        self.events.note_kept(self, accepted)
        return kept

    def _observed(self, api: Any) -> Any:
        takes_events = getattr(api, "append", None) == self.append
        return _ObservedApi(api, self.events.note_refusal) if takes_events else api

    def effects(self, event: Event, tool: str) -> list[Effect]:
        """Return everything that a tool wants for an event.

        Raises:
            Exception: what the tool raised.
        """
        return engines.effects_of(self.bare[tool], event) or []

    def requests(self, event: Event, tool: str) -> list[HttpRequest]:
        """Return the requests that a tool's vendor gets for this event alone.

        Raises:
            Exception: what the tool raised.
        """
        wanted = [effect for effect in self.effects(event, tool) if isinstance(effect, Send)]
        sends = tuple(Send(effect.payload, event.id, effect.size) for effect in wanted)
        packed = list(self.bare[tool].pack(sends)) if sends else []
        return [stamped(one.request, self.clock) for one in packed if isinstance(one.request, HttpRequest)]

    async def settle(self) -> bool:
        """Deliver what is due. Returns whether, looking anew, there was nothing. Call it on the capture's loop."""
        shift = self._shift or self._begin()
        if self._task is not None and self._task.done():
            self._task.result()
            raise RuntimeError("deliveries have ended, although the test has not")
        return await shift.has_settled()

    def _begin(self) -> Shift:
        lease, watched = self.journal.lead(), self.watched_delivery()
        assert lease is not None, "nobody else has this journal"
        self._lease = lease
        vendors = self.events.vendors
        work = Work(
            journal=self.journal,
            dispatcher=watched.dispatcher(self.engine) if watched else self.engine,
            transport=watched.transport(vendors) if watched else vendors,
            clock=self.clock,
            duplicates=Duplicates(),
            pacer=Pacer(polite=False),
            watch=Watch(look_s=None),
            on_outcome=self._on_outcome,
            jobs=self._jobs(),
        )
        shift = self._shift = Shift(work, watched.lease(lease) if watched else lease)
        self._task = asyncio.get_running_loop().create_task(shift.run())
        return shift

    def _on_outcome(self, outcome: Outcome) -> None:
        self.events.note_outcome(outcome)
        if self.config.on_outcome is not None:
            try:
                self.config.on_outcome(outcome)
            except Exception as error:
                self.events.note_error("on_outcome", error)
                raise

    async def end(self) -> None:
        """End what `settle` began, on the same loop."""
        if self._shift is None or self._task is None or self._lease is None:
            return
        self._shift.over.set()
        with suppress(Exception, asyncio.CancelledError):  # a test that was interrupted has cancelled it
            await self._task
        await self._shift.land(1.0)
        self._lease.close()

    def discard(self) -> None:
        """Let go of everything."""
        self.close(0)
        self._remove_folder()

    def _remove_folder(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def waiting(self) -> dict[str, int]:
        """Return for each tool how many events it has not settled, or waits to try again."""
        stats = self.journal.stats().tools
        return {tool.tool: tool.backlog_events + tool.parked for tool in stats if tool.backlog_events + tool.parked}


def _noting(tool: BoundTool, note: Callable[[str, BaseException], None]) -> BoundTool:
    """Return a tool that reports what its code raises. Defaults of ours stay what they are: they are told by identity."""

    def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            try:
                result = function(*given)
            except Exception as error:
                note(tool.id, error)
                raise
            return stepped(result) if isinstance(cast(object, result), Iterator) else result

        def stepped(steps: Iterator[Any]) -> Iterator[Any]:
            try:
                yield from steps
            except Exception as error:
                note(tool.id, error)
                raise

        return call

    return dataclasses.replace(
        tool,
        handle=guarded(tool.handle),
        matches=None if tool.matches is None else guarded(tool.matches),
        pack=tool.pack if tool.pack is pack_singly else guarded(tool.pack),
        verdict=tool.verdict if tool.verdict is verdict_by_status else guarded(tool.verdict),
    )
