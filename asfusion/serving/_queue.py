"""Requests that wait for the one thread that predicts: what waits together is asked together."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from asfusion.serving._answering import Answering
from asfusion.serving._rows import Rows


class BusyError(Exception):
    """More waits than may."""


class _Asked(NamedTuple):
    answering: Answering
    rows: Rows
    future: asyncio.Future[list[dict[str, Any]]]


class Waiting:
    """A queue before one thread.

    No request waits for others to come. Those that came while the thread was busy are predicted
    at once, so that a crowd costs hardly more than one; where that fails each is asked alone, so
    that nobody gets an error for the rows of another.

    Parameters
    ----------
    most : int
        Requests that may wait; more are refused.
    most_rows : int
        Rows that are predicted at once.
    """

    def __init__(self, most: int, most_rows: int) -> None:
        self._most, self._most_rows = most, most_rows
        self._waiting: deque[_Asked] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="asfusion-predict")
        self._work: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Return how many requests wait."""
        return len(self._waiting)

    async def ask(self, answering: Answering, rows: Rows) -> list[dict[str, Any]]:
        """Return an answer to each row.

        Raises
        ------
        BusyError
            If too many requests wait.
        """
        if len(self._waiting) >= self._most:
            raise BusyError
        loop = asyncio.get_running_loop()
        asked = _Asked(answering, rows, loop.create_future())
        self._waiting.append(asked)
        if self._work is None or self._work.done():
            self._work = loop.create_task(self._until_empty())
        try:
            return await asked.future
        except asyncio.CancelledError:  # its client has gone, and shall keep no place
            self._waiting = deque(one for one in self._waiting if one is not asked)
            raise

    async def stop(self) -> None:
        """End, once what was asked is answered."""
        if self._work is not None:
            await self._work
        self._thread.shutdown(wait=True)

    async def _until_empty(self) -> None:
        while self._waiting:
            await self._answer(self._together())

    def _together(self) -> list[_Asked]:
        """Return the first request, and those behind it that ask the same model."""
        batch = [self._waiting.popleft()]
        n_rows = len(batch[0].rows)
        while self._waiting:
            after = self._waiting[0]
            n_rows += len(after.rows)
            if after.answering is not batch[0].answering or n_rows > self._most_rows:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _answer(self, batch: list[_Asked]) -> None:
        batch = [asked for asked in batch if not asked.future.done()]  # whose client still waits
        if not batch:
            return
        several = [asked.rows for asked in batch]
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._thread, batch[0].answering.ask, several)
        except Exception as error:
            if len(batch) == 1:
                _settle(batch[0], error)
                return
            for asked in batch:
                await self._answer([asked])
            return
        for asked, answers in zip(batch, found, strict=True):
            _settle(asked, answers)


def _settle(asked: _Asked, said: Any) -> None:
    if asked.future.done():
        return
    if isinstance(said, Exception):
        asked.future.set_exception(said)
    else:
        asked.future.set_result(said)
