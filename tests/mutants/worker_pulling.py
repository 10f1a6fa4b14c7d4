"""Mutants of a worker's pulling: which models, how many jobs, and to which end.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["WORKER_PULLING_MUTANTS"]

PULLING = "data_plane/sie_worker/intake/pulling.py"
_LAWS = "tests/property/test_pulling_laws.py::"
ENDS = (f"{_LAWS}test_what_is_placed_is_pulled_and_each_puller_is_closed_however_the_pulling_ends",)
SOON = (f"{_LAWS}test_a_change_is_followed_soon_and_a_burst_of_them_is_one_look",)
ROOM = (f"{_LAWS}test_room_is_filled_soon_whichever_model_has_jobs",)

WORKER_PULLING_MUTANTS = (
    edit(
        "models-pulled-are-those-placed",
        "the gauge says that a worker pulls for its models, which it does not while its bus is"
        " away",
        PULLING,
        "metrics.PULLED_MODELS.set_function(lambda: len(self._pullers))",
        "metrics.PULLED_MODELS.set_function(lambda: len(placed()))",
        ENDS,
    ),
    edit(
        "a-bus-that-is-away-ends-the-pulling",
        "a worker ends when its broker is away for a moment and a model comes",
        PULLING,
        "                # The bus is away for all of them: the next look tries again.\n"
        "                return\n",
        "                raise\n",
        ENDS,
    ),
    edit(
        "time-is-asked-for-at-each-open",
        "where nobody tells the time a worker with many models pulls for the last minutes later",
        PULLING,
        "            try:\n                await self._open(model_id)\n",
        "            try:\n"
        "                if not self._broker_clock.is_known:\n"
        "                    await self.look_at_clock(model_id)\n"
        "                await self._open(model_id)\n",
        ENDS,
    ),
    edit(
        "time-is-asked-for-although-known",
        "each model that comes costs a question to the broker, and seconds where it is slow",
        PULLING,
        "if opening and not self._broker_clock.is_known:",
        "if opening:",
        ENDS,
    ),
    edit(
        "time-is-asked-of-another-bundle",
        "a worker never learns the broker's time, and runs jobs that nobody waits for any more",
        PULLING,
        "self._kind.machine_profile, self._kind.bundle, model_id)\n            await",
        'self._kind.machine_profile, "default", model_id)\n            await',
        ENDS,
    ),
    edit(
        "time-is-asked-of-the-bundles-stream",
        "a worker never learns the broker's time, and runs jobs that nobody waits for any more",
        PULLING,
        "await self._broker_clock.look(stream_name(self._kind.pool), consumer)",
        "await self._broker_clock.look(stream_name(self._kind.bundle), consumer)",
        ENDS,
    ),
    edit(
        "only-the-first-model-is-woken",
        "room that is free is filled a second later, for all models but one",
        PULLING,
        "for puller in self._pullers.values():\n            puller.wake(share)",
        "for puller in list(self._pullers.values())[:1]:\n            puller.wake(share)",
        ROOM,
    ),
    edit(
        "a-change-during-a-look-is-forgotten",
        "a model that moves while the broker is asked for its time is pulled for a second later",
        PULLING,
        "            self._changed.clear()\n            looked_at = loop.time()\n"
        "            await self._follow_placement()\n",
        "            looked_at = loop.time()\n"
        "            await self._follow_placement()\n"
        "            self._changed.clear()\n",
        SOON,
    ),
    edit(
        "a-burst-of-changes-is-as-many-looks",
        "a bulk import keeps every worker busy with looks at its placement",
        PULLING,
        "looked_at + _LOOKS_APART_S - loop.time()",
        "looked_at - _LOOKS_APART_S - loop.time()",
        SOON,
    ),
    edit(
        "a-placement-is-looked-at-once",
        "a worker whose broker was away at its start never pulls",
        PULLING,
        "            except TimeoutError:\n                continue\n",
        "            except TimeoutError:\n                await self._changed.wait()\n",
        ENDS,
    ),
    edit(
        "pullers-stay-when-looking-fails",
        "a worker that ends by an error takes jobs until its process is gone",
        PULLING,
        "        finally:\n            for model_id in list(self._pullers):\n",
        "        finally:\n            for model_id in list(self._pullers) * stop.is_set():\n",
        ENDS,
    ),
    edit(
        "pullers-are-closed-one-by-one",
        "where the broker hangs, a worker of many models does not end before it is killed",
        PULLING,
        "                self._close(model_id)\n            if self._closing:",
        "                await self._pullers.pop(model_id).close()\n            if self._closing:",
        ENDS,
    ),
    edit(
        "a-stop-ends-a-close",
        "a pull stays open that takes jobs and gives each back, which costs them a delivery",
        PULLING,
        "                await asyncio.wait(self._closing)",
        "                for each in self._closing:\n                    each.cancel()",
        ENDS,
    ),
    edit(
        "each-model-asks-for-the-whole-room",
        "a worker of ten models at work takes ten times what it can run, and others idle",
        PULLING,
        "return -(-self._demand() // max(1, at_work))",
        "return self._demand() * bool(at_work + 1)",
        ENDS,
    ),
    edit(
        "a-part-of-the-room-is-rounded-down",
        "with more models at work than jobs of room, nothing is pulled although there is room",
        PULLING,
        "return -(-self._demand() // max(1, at_work))",
        "return self._demand() // max(1, at_work)",
        ROOM,
    ),
    edit(
        "a-model-that-left-is-pulled-for",
        "a worker goes on taking the jobs of models that live elsewhere now",
        PULLING,
        "for model_id in sorted(self._pullers.keys() - placed):",
        "for model_id in sorted(placed - self._pullers.keys() - placed):",
        ENDS,
    ),
)
