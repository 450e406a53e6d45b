"""What becomes of a table when the source does not show any more what its watermark is bound to. A pure function.

| the source shows                                              | the table is                                     |
|---------------------------------------------------------------|--------------------------------------------------|
| what it is bound to; columns added that hold nothing yet       | followed                                         |
| no such table, another table under its name                    | held                                             |
| a table that cannot be followed (`fitness`)                    | held                                             |
| a publication without it                                       | held                                             |
| another primary key, its values spelled otherwise              | held                                             |
| another raw topic                                              | held                                             |
| a membership or a publication that was changed meanwhile       | followed, with a fault: changes were not sent    |
| a partition detached, dropped, attached filled, or emptied     | followed, with a fault: Postgres sends no event  |
| a column dropped, renamed, retyped, filled, or rows rewritten  | followed, with a fault: Postgres sends no event  |
| a column whose values are spelled otherwise                    | followed, with a fault: Postgres sends no event  |
| a new file whose rows are all younger, without a TRUNCATE      | followed, with a fault: changes were not sent    |

A *held* table publishes nothing until it is read again: what would be published could not be told from what is right.
A followed table with a fault publishes its changes, which are right; rows that changed without an event are not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from sluice.cdc.pgoutput import Relation
from sluice.cdc.table_facts import Bound, BoundColumn, ColumnFacts, PublicationFacts, TableFacts, bound_to
from sluice_ingress_cdc.fitness import unfit

# Types whose values read the same: text, varchar.
_SAME_TEXT = {25, 1043}
# Transaction ids begin again after so many.
XIDS = 1 << 32


Suspicion = tuple[int, int]


class Action(Enum):
    GO_ON = "followed"
    SAY = "followed, with a fault"
    HOLD = "held"


class Verdict(NamedTuple):
    """`why` is empty where there is nothing to say; `mend` is what to do before the table is read again, if anything.
    `bound`: where the table goes on, what it is bound to from here on."""

    action: Action
    why: str = ""
    mend: str = ""
    bound: Bound | None = None


class Seen(NamedTuple):
    """A look at the source, of a table that was `bound` to something by then.

    `called_now`: the present name of the table's oid where another table, or none, has its name. `filled`: new leaves
    that held rows before they were attached; `emptied`: leaves in new files that hold no row of before, with the
    transaction that made it so; `refilled`: so does the file of a table without partitions.
    """

    bound: Bound
    facts: TableFacts | None
    publication: PublicationFacts
    topic_id: str
    server_version: int
    called_now: str | None = None
    filled: frozenset[int] = frozenset()
    emptied: Mapping[int, int] = {}
    refilled: bool = False

    @property
    def suspicions(self) -> frozenset[Suspicion]:
        """Changes whose cause only the log shows: (oid of a leaf, transaction that emptied it), (oid of the table, its
        new file)."""
        files = {(self.facts.oid, self.facts.filenode)} if self.facts is not None and self.refilled else set()
        return frozenset(self.emptied.items()) | files


def judge(seen: Seen) -> Verdict:
    """The table's verdict."""
    bound = seen.bound
    held = _why_held(bound, seen)
    if held is not None:
        return held
    assert seen.facts is not None  # noqa: S101 - `_why_held` holds a table that does not exist
    why = [*_changes_not_sent(bound, seen), *_partitions(bound, seen), *_columns(bound, seen.facts)]
    # Whatever altered a column and rewrote the rows for it is told as that.
    why = why or [*_rows(bound, seen)]
    if why:
        return Verdict(Action.SAY, "; ".join(why), _mappings_first(bound, seen.facts))
    # What did no harm (a new partition, VACUUM FULL, an empty column) is not looked at again.
    return Verdict(Action.GO_ON, bound=bound_to(seen.facts, seen.publication, seen.topic_id))


def before_the_log(seen: Seen, truncations: Collection[int], *, caught_up: bool) -> tuple[Seen, bool]:
    """What can be judged of a look before the log has come to its moment: a TRUNCATE of the whole table empties its
    partitions as well, and only the log tells the two apart, by the transaction that did it. That a table without
    partitions was truncated, the log tells too.

    `truncations`: transactions that truncated the whole table. Returns the look without what such a one did, and
    without that of which it is not known yet; whether there is some of the latter.
    """
    left = {oid: xid for oid, xid in seen.emptied.items() if xid not in truncations}
    # The table's row in the catalog may have been written again since, or within a savepoint: any TRUNCATE will do,
    # unless the rows that came after it were written anew in their turn.
    toast = seen.facts.toast if seen.facts else 0
    truncated = toast == seen.bound.toast or not toast or not seen.bound.toast
    refilled = seen.refilled and not (truncated and any(_since(xid, seen.bound) for xid in truncations))
    if caught_up:
        return seen._replace(emptied=left, refilled=refilled), False
    return seen._replace(emptied={}, refilled=False), bool(left) or refilled


def not_yet_bound(truncations: Sequence[int], bound: Bound) -> tuple[int, ...]:
    """Of the transactions that truncated a table, those that may have ended after `bound` was looked at."""
    return tuple(xid for xid in truncations if _since(xid, bound))


def first_seen(suspicions: Collection[Suspicion], before: Mapping[Suspicion, int], lsn: int) -> dict[Suspicion, int]:
    """Where the log was when each suspicion was seen first. `before`: of the look before; `lsn`: at this one.

    A suspicion is settled once the log is read up to there: whatever caused it has been read by then.
    """
    return {one: before.get(one, lsn) for one in suspicions}


def judge_relation(bound: Bound, relation: Relation) -> Verdict:
    """The verdict on a shape that the log tells: it may have stood for a moment only, which no catalog shows."""
    carried = {c.name for c in relation.columns if c.in_identity}
    key = set(bound.key)
    if not key <= carried or (relation.identity == "d" and key != carried):
        was, now = ", ".join(bound.key), ", ".join(sorted(carried))
        return _hold(f"its primary key or REPLICA IDENTITY became ({now}); the records published have key ({was})")
    pairs = zip(bound.columns, relation.columns, strict=False)
    if all(was.name == now.name and _reads_the_same(was.type_oid, now.type_oid) for was, now in pairs):
        return Verdict(Action.GO_ON)
    return Verdict(Action.SAY, "columns were dropped, renamed or retyped, for which Postgres sends no event")


def doubtful_columns(bound: Bound, facts: TableFacts) -> frozenset[str]:
    """Columns whose name did not always mean what it means now, or whose values were rewritten.

    Where an update leaves one of them out, what was published under its name before is not its value.
    """
    rewritten = _rewritten(bound, facts)
    known = {c.number: c for c in bound.columns}
    doubtful = set()
    for column in facts.columns:
        before = known.get(column.number)
        same = before is not None and before[:4] == column[:4] and not _spelled_otherwise(before, column)
        if not same or before is None or (rewritten and before.version != column.version):
            doubtful.add(column.name)
    return frozenset(doubtful)


def _why_held(bound: Bound, seen: Seen) -> Verdict | None:
    facts = seen.facts
    if facts is None:
        return _why_gone(seen.called_now)
    if facts.oid != bound.oid:
        moved = f" (what was followed is called {seen.called_now} now)" if seen.called_now else ""
        return _hold(f"another table has its name now{moved}: it was swapped, or dropped and made again")
    wrong = unfit(facts, seen.server_version)
    if wrong is not None:
        return _hold(wrong.why, wrong.next_step)
    if facts.published is None:
        return _hold("the publication lacks it: its changes are not sent")
    if seen.topic_id != bound.topic_id:
        return _hold("its raw topic was deleted and made again, or emptied: what was published is gone")
    if facts.primary_key != bound.key:
        was, now = ", ".join(bound.key), ", ".join(facts.primary_key)
        return _hold(f"its primary key is ({now}), and was ({was}) in the records published")
    for before, column in _pairs(bound, facts):
        if column.name in bound.key and _spelled_otherwise(before, column):
            return _hold(
                f"the type of its primary key column {column.name} was altered: keys read otherwise in the records "
                "published"
            )
    return None


def _why_gone(called_now: str | None) -> Verdict:
    """An empty table under the old name would be read as one whose rows were all deleted: nobody is told to make it."""
    if called_now:
        return _hold(
            f"it does not exist any more under this name: it is called {called_now} now",
            f"give {called_now} its name back (an empty table in its place would delete what was published), or take "
            "the table out of the pipeline file",
        )
    return _hold("it does not exist any more", "restore it with its rows, or take it out of the pipeline file")


def _hold(why: str, mend: str = "") -> Verdict:
    return Verdict(Action.HOLD, why, mend)


def _changes_not_sent(bound: Bound, seen: Seen) -> Iterator[str]:
    publication, facts = seen.publication, seen.facts
    if (publication.oid, publication.version) != bound.publication:
        yield "the publication was altered, or dropped and made again: changes made meanwhile were not sent"
    elif facts is not None and facts.membership != bound.membership:
        yield "it was taken out of the publication and put back, or its filter changed: changes were not sent"


def _partitions(bound: Bound, seen: Seen) -> Iterator[str]:
    leaves = {leaf.oid: leaf for leaf in seen.facts.leaves} if seen.facts else {}
    gone = bound.leaves.keys() - leaves.keys()
    if gone:
        yield f"{_count(len(gone), 'partition')} detached or dropped, for which Postgres sends no event"
    for oid in sorted(bound.leaves.keys() & leaves.keys()):
        if bound.leaves[oid].attached not in (None, leaves[oid].attached):
            yield f"partition {leaves[oid].name} was detached and attached again: changes made meanwhile were not sent"
    for oid in sorted(seen.filled & leaves.keys()):
        yield f"partition {leaves[oid].name} was attached with rows in it, for which Postgres sends no event"
    for oid in sorted(seen.emptied.keys() & leaves.keys()):
        yield f"partition {leaves[oid].name} was truncated or rewritten, for which Postgres sends no event"


def _columns(bound: Bound, facts: TableFacts) -> Iterator[str]:
    now = {c.number: c for c in facts.columns}
    known = {c.number for c in bound.columns}
    rewritten = _rewritten(bound, facts)
    for before in bound.columns:
        name, column = before.name, now.get(before.number)
        if column is None:
            yield f"column {name} was dropped"
        elif column.name != name:
            yield f"column {name} is called {column.name} now"
        elif name not in facts.published_columns:
            yield f"column {name} is not published any more"
        elif not _reads_the_same(before.type_oid, column.type_oid) or (
            column.typmod != before.typmod and column.type_oid not in _SAME_TEXT
        ):
            yield f"column {name} changed its type"
        elif _spelled_otherwise(before, column):
            yield f"the type of column {name} was altered, and its values read otherwise"
        elif rewritten and column.version != before.version:
            yield f"column {name} was altered and the rows were rewritten"
    for column in facts.columns:
        published = column.name in facts.published_columns
        if published and column.number not in known and (column.filled or rewritten):
            yield f"column {column.name} was added, and rows that were there may hold a value in it"


def _mappings_first(bound: Bound, facts: TableFacts) -> str:
    """A table that is read again under other names parks every row, unless its mappings know both."""
    gone = [was.name for was in bound.columns if was.name not in facts.published_columns]
    if not gone:
        return ""
    return (
        f"let the mappings that read {', '.join(gone)} do without it, since older records keep it and new ones lack it"
    )


def _rows(bound: Bound, seen: Seen) -> Iterator[str]:
    """ALTER TABLE writes all rows anew, VACUUM FULL and CLUSTER keep the transaction that each is of."""
    columns = seen.facts.columns if seen.facts else ()
    # A stored generated column rewrites the rows as well, and is not published.
    if seen.refilled and not any(c.generated and _since(c.version, bound) for c in columns):
        yield "its rows were rewritten, as by SET UNLOGGED and SET LOGGED: changes made meanwhile were not sent"


def _since(xid: int, bound: Bound) -> bool:
    """Whether the transaction had not ended when the table was bound."""
    return (xid - bound.xid) % XIDS < XIDS // 2


def _reads_the_same(was: int, now: int) -> bool:
    return was == now or {was, now} <= _SAME_TEXT


def _spelled_otherwise(before: BoundColumn, now: ColumnFacts) -> bool:
    """Whether values that stood may read otherwise. A label that an enum got since is of no value that stood."""
    if before.spelling is None or before.type_oid != now.type_oid:
        return False
    lost = set(before.spelling) - set(now.spelling)
    come = set(now.spelling) - set(before.spelling)
    return bool(lost) or not all(word.startswith("label ") for word in come)


def _pairs(bound: Bound, facts: TableFacts) -> Iterator[tuple[BoundColumn, ColumnFacts]]:
    now = {c.number: c for c in facts.columns}
    return ((before, now[before.number]) for before in bound.columns if before.number in now)


def _rewritten(bound: Bound, facts: TableFacts) -> bool:
    """Whether the rows lie in other files: also after VACUUM FULL, which alters no column."""
    if facts.filenode != bound.filenode:
        return True
    return any(leaf.oid in bound.leaves and leaf.filenode != bound.leaves[leaf.oid].filenode for leaf in facts.leaves)


def _count(number: int, what: str) -> str:
    return f"1 {what} was" if number == 1 else f"{number} {what}s were"
