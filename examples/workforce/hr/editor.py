"""Life in HR: a thread that edits, hires and dismisses, from a seed.

What is done is a function of (seed, how many steps were made before); only when it is done depends on the clock.
"""

from __future__ import annotations

from random import Random
from threading import Event, RLock, Thread
from typing import Any, NamedTuple

from .. import company
from . import spellings
from .directory import Directory

_KINDS = {"edit": 84, "transfer": 4, "hire": 6, "dismiss": 6}


class Step(NamedTuple):
    """One change: its kind, the records after it, and the last ones of who is gone."""

    kind: str
    changed: list[bytes]
    deleted: list[bytes]


class Editor:
    """Makes `edits_per_second` changes until closed. `frozen` is respected at once: after freeze() nothing changes."""

    def __init__(self, directory: Directory, seed: int, edits_per_second: float) -> None:
        self._directory = directory
        self._seed = seed
        self._interval_s = 1 / edits_per_second if edits_per_second > 0 else None
        self._lock = RLock()
        self._frozen = False
        self._closed = Event()
        self._thread = Thread(target=self._run, name="editor", daemon=True)

    def start(self) -> None:
        if self._interval_s is not None:
            self._thread.start()

    def freeze(self, frozen: bool) -> None:
        """Returns when no edit is under way any more."""
        with self._lock:
            self._frozen = frozen

    @property
    def frozen(self) -> bool:
        return self._frozen

    def close(self) -> None:
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def step(self) -> Step:
        """Makes one change, unless frozen; says what it was."""
        with self._lock:
            if self._frozen:
                return Step("frozen", [], [])
            # Counted separately: a step that changes no one must not repeat for ever.
            rng = Random(f"{self._seed}/step/{self._directory.next('step')}")
            kind = rng.choices(list(_KINDS), list(_KINDS.values()))[0]
            if kind == "hire":
                return Step(kind, self._hire(rng), [])
            if kind == "dismiss":
                return Step(kind, [], self._dismiss(rng))
            return Step(kind, self._edit(rng, transfer=kind == "transfer"), [])

    def _hire(self, rng: Random) -> list[bytes]:
        person = company.person(self._seed, self._directory.next("number"))
        record = spellings.worker(person, rng.getrandbits(32))
        return [self._directory.hire(record["id"], record)]

    def _dismiss(self, rng: Random) -> list[bytes]:
        chosen = self._directory.pick(rng, 1, without=tuple(spellings.HOPELESS))
        # Somebody else may have dismissed them since they were chosen.
        last_known = {worker_id: self._directory.get(worker_id) for worker_id in chosen}
        return [body for worker_id, body in last_known.items() if body and self._directory.delete(worker_id)]

    def _edit(self, rng: Random, *, transfer: bool) -> list[bytes]:
        """One worker's member; or a transfer: several workers get a cost centre at one instant.

        Who left since they were chosen stays away.
        """
        chosen = self._directory.pick(rng, 4 if transfer else 1, without=tuple(spellings.HOPELESS))
        if transfer:
            changed: dict[str, Any] = {"costCentre": spellings.cost_centre(company.any_cost_centre(rng), rng)}
        else:
            changed = _edited(rng)
        return self._directory.edit(dict.fromkeys(chosen, changed)) if chosen else []

    def _run(self) -> None:
        while not self._closed.wait(self._interval_s):
            self.step()


def _edited(rng: Random) -> dict[str, Any]:
    country = company.any_country(rng)
    member = rng.choice(("jobTitle", "pay", "costCentre", "phone", "country", "height", "name", "nothing"))
    match member:
        case "jobTitle":
            return {"jobTitle": company.any_job(rng)}
        case "pay":
            return {"pay": spellings.pay(company.any_pay_cents(rng), country.currency, rng)}
        case "costCentre":
            return {"costCentre": spellings.cost_centre(company.any_cost_centre(rng), rng)}
        case "phone":
            return {"phone": spellings.phone(company.any_phone(rng), country.dial_code, rng)}
        case "country":
            return {"country": rng.choice((country.code, *country.names))}
        case "height":
            return {"height": spellings.height(rng.randint(150, 205), rng)}
        case "name":
            # Marriage: whatever spelling the name had, it now stands in one member.
            name = f"{company.any_last_name(rng)}, {rng.choice(('Alex', 'Kim', 'Robin'))}"
            return {"name": name, "$remove": ["firstName", "lastName"]}
    return {}  # saved without a change: only updatedAt moves
