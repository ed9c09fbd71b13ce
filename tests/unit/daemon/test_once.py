from __future__ import annotations

import asyncio

import pytest
from iterate_daemon.once import Once


def test_the_answer_is_shared_and_then_asked_for_again() -> None:
    asked = 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)
        return asked

    async def run() -> None:
        once = Once(ask, seconds=1)
        assert await asyncio.gather(*(once.get() for _ in range(5))) == [1] * 5
        assert await once.get() == 1
        await asyncio.sleep(1.05)
        assert await once.get() == 2

    asyncio.run(run())


def test_a_client_that_goes_away_takes_nobody_s_answer_with_it() -> None:
    async def ask() -> str:
        await asyncio.sleep(0.05)
        return "answer"

    async def run() -> str:
        once = Once(ask, seconds=1)
        leaving = asyncio.create_task(once.get())
        staying = asyncio.create_task(once.get())
        await asyncio.sleep(0)
        leaving.cancel()
        return await staying

    assert asyncio.run(run()) == "answer"


def test_a_failure_is_not_kept_for_ever() -> None:
    answers = iter([OSError("once"), "answer"])

    async def ask() -> str:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return str(answer)

    async def run() -> str:
        once = Once(ask, seconds=0)
        with pytest.raises(OSError, match="once"):
            await once.get()
        return await once.get()

    assert asyncio.run(run()) == "answer"
