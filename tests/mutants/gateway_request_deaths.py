"""Mutants of `deaths.py` (a request in a gateway).

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["GATEWAY_REQUEST_DEATHS_MUTANTS"]

_DEATHS = "data_plane/sie_gateway/request/deaths.py"
_LAWS = "tests/property/test_giving_back_laws.py::"
_BACK = (f"{_LAWS}test_the_jobs_of_a_dead_worker_go_back_however_often_it_was_asked_in_vain",)
_TURN = (f"{_LAWS}test_each_suspect_has_its_turn_however_often_it_was_asked_in_vain",)

GATEWAY_REQUEST_DEATHS_MUTANTS = (
    edit(
        "a-silent-worker-holds-nothing",
        "a job that a slow worker has in hand goes to a second one",
        _DEATHS,
        "            if held is None:\n                return False\n",
        "            held = held or frozenset()\n",
        _BACK,
    ),
    edit(
        "a-dead-worker-is-asked-about-once",
        "where one question was in vain, jobs lie until the broker's own redelivery",
        _DEATHS,
        "        if done:\n            for life",
        "        if True:\n            for life",
        _BACK,
    ),
    edit(
        "acknowledged-jobs-go-back",
        "what was answered is given back, and its answer said to be late",
        _DEATHS,
        "            if out is None or not out.unacknowledged:\n                continue",
        "            if out is None:\n                continue",
        _BACK,
    ),
    edit(
        "any-kind-has-died",
        "a death takes the jobs of living workers of other kinds",
        _DEATHS,
        "            if run.route.kind != kind:\n                continue\n",
        "",
        _BACK,
    ),
    edit(
        "who-says-nothing-lives",
        "a worker that is stopped is never found",
        _DEATHS,
        "            elif answer is not Unheard.SILENT:",
        "            else:",
        _BACK,
    ),
    edit(
        "the-fleet-is-told-of-no-death",
        "requests are routed to a worker that is gone until its silence is long",
        _DEATHS,
        "                self._is_over(life)\n",
        "",
        _BACK,
    ),
    edit(
        "what-went-is-not-noted",
        "a job of a stopped worker uses up its deliveries in seconds",
        _DEATHS,
        "        went(found, why=why, limits=self._limits, now=self._clock())\n",
        "",
        _BACK,
    ),
    edit(
        "a-gateway-that-just-came-judges",
        "a gateway that starts asks every worker, and takes what it did not hear for dead",
        _DEATHS,
        "            if self._lives.can_judge(self._clock()):",
        "            if True:",
        _BACK,
    ),
    edit(
        "a-death-gives-nothing-back",
        "jobs of a dead worker lie until the broker's own redelivery",
        _DEATHS,
        '        found |= {life.kind: "over" for life in self._lives.over()}\n',
        "",
        _BACK,
    ),
    edit(
        "suspects-have-no-turn",
        "of two suspects the second lies until its requests are over",
        _DEATHS,
        'dict.fromkeys(self._suspects, "turn")',
        "{}",
        _TURN,
    ),
    edit(
        "a-stopped-worker-keeps-its-jobs",
        "jobs of a machine that vanished lie until the broker's own redelivery",
        _DEATHS,
        '            found |= {life.kind: "stuck" for life in self._lives.stuck(now)}\n',
        "",
        _BACK,
    ),
    edit(
        "a-refusal-of-the-queue-ends-the-loop",
        "after one no of the broker no job of a dead worker is given back any more",
        _DEATHS,
        "        except SIEError as error:",
        "        except KeyError as error:",
        _BACK,
    ),
    edit(
        "a-turn-is-lost-in-vain",
        "a suspect lies where one question about it was in vain",
        _DEATHS,
        "        has_suspects = False\n",
        "        has_suspects = False\n        self._suspects.discard(kind)\n",
        _TURN,
    ),
    edit(
        "no-answer-of-one-queue-is-an-answer",
        "the jobs of a queue of whose holders one was silent are never given back",
        _DEATHS,
        "                return False\n            found",
        "                continue\n            found",
        _BACK,
    ),
    edit(
        "the-last-of-a-kind-takes-its-jobs-along",
        "where all workers of a kind died nobody speaks for their queue",
        _DEATHS,
        "self._lives.speakers(kind.pool, self._clock())",
        "self._lives.living(kind, self._clock())",
        _BACK,
    ),
    edit(
        "one-of-a-kind-is-asked",
        "a job in the hand of a second worker goes to a third",
        _DEATHS,
        "living = self._lives.living(kind, self._clock())",
        "living = self._lives.living(kind, self._clock())[:1]",
        _BACK,
    ),
    edit(
        "one-kind-settles-all",
        "of two kinds with a death each one's jobs lie where a question was in vain",
        _DEATHS,
        "over = [life for life in self._lives.over() if life.kind == kind]",
        "over = self._lives.over()",
        _BACK,
    ),
    edit(
        "nobody-to-speak-is-nothing-to-do",
        "a pool that lost all its workers forgets what they held",
        _DEATHS,
        "            return not queues\n",
        "            return True\n",
        _BACK,
    ),
    edit(
        "a-death-counts-again",
        "an innocent job is a suspect after one death, where another queue was away",
        _DEATHS,
        "                self._lives.settle(life, queue.consumer)",
        "                pass",
        _BACK,
    ),
)
