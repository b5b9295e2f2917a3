"""Walks through a world of journals, by chance. A seed names a walk, so one that failed can be taken again: `walk`."""

from __future__ import annotations

import random

from tests.crash.actor import TOOLS, Failed
from tests.crash.audit import Audit
from tests.crash.simulated import ACTORS, World
from tests.crash.tally import Tally

STEPS = 60

FATES = ("done", "done", "done", "park", "dead", "wait")


def step(world: World, chance: random.Random) -> None:
    """Take one step by chance."""
    number, tool = chance.randrange(ACTORS), chance.choice(TOOLS)
    fates = chance.choices(FATES, k=chance.randint(0, 8))
    match chance.choices(
        ["append", "read", "settle", "unpark", "kill", "leave", "lead", "give up", "chores", "look"],
        [30, 20, 20, 6, 6, 2, 8, 2, 6, 4],
    )[0]:
        case "append":
            world.append(number, chance.choice([1, 1, 2, 5]), chance.choice([10, 500, 3000]))
        case "read":
            world.read(tool, chance.choice([1, 3, 100]))
        case "settle":
            world.settle(tool, fates)
        case "unpark":
            world.unpark(tool, fates)
        case "kill":
            world.kill(number)
        case "leave":
            world.leave(number)
        case "lead":
            world.lead(number)
        case "give up":
            world.give_up()
        case "chores":
            world.chores()
        case _:
            world.look(number)


def walk(seed: int, steps: int = STEPS) -> World:
    """Walk through a world by chance, to its end. Returns the world, which is closed.

    Raises:
        AssertionError: something was not as the model has it.
        Failed: a journal raised.
    """
    chance = random.Random(seed)
    world = World(chance.choice([4096, 16 * 1024]), chance.choice([0.0, 0.0, 0.02, 86_400.0]))
    try:
        for _ in range(steps):
            step(world, chance)
        world.end()
    finally:
        world.close()
    return world


def report(seed: int, tally: Tally) -> None:
    """Walk once, and count its steps as points."""
    try:
        world = walk(seed)
    except (AssertionError, Failed, TimeoutError, KeyError) as error:
        tally.points += STEPS
        tally.lost += 1
        tally.fail(f"walk {seed}: {type(error).__name__}: {error}")
        return
    events = sum(count for _, _, count in world.log)
    tally.add(Audit(events, 0, 0, 0), f"walk {seed}", points=world.steps, kills=world.kills)
