from __future__ import annotations

import asyncio

import pytest
from iterate_daemon.shared_answer import SharedAnswer


def test_an_answer_is_shared_until_it_is_old() -> None:
    count = 0

    async def ask() -> int:
        nonlocal count
        count += 1
        await asyncio.sleep(0.01)
        return count

    async def run() -> None:
        shared = SharedAnswer(ask, seconds=1)
        assert await asyncio.gather(*(shared.get() for _ in range(5))) == [1] * 5
        assert await shared.get() == 1
        await asyncio.sleep(1.05)
        assert await shared.get() == 2

    asyncio.run(run())


def test_a_leaving_client_leaves_the_answer_to_others() -> None:
    async def ask() -> str:
        await asyncio.sleep(0.05)
        return "answer"

    async def run() -> str:
        shared = SharedAnswer(ask, seconds=1)
        leaving = asyncio.create_task(shared.get())
        staying = asyncio.create_task(shared.get())
        await asyncio.sleep(0)
        leaving.cancel()
        return await staying

    assert asyncio.run(run()) == "answer"


def test_a_failure_is_not_shared_for_ever() -> None:
    answers = iter([OSError("once"), "answer"])

    async def ask() -> str:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return str(answer)

    async def run() -> str:
        shared = SharedAnswer(ask, seconds=0)
        with pytest.raises(OSError, match="once"):
            await shared.get()
        return await shared.get()

    assert asyncio.run(run()) == "answer"
