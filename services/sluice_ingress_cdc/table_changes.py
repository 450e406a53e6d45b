"""Detects changes of a followed table for which Postgres sends no event, and decides the state of the table. Pure.

| the source shows                                                | the table is                                 |
|-----------------------------------------------------------------|----------------------------------------------|
| what the table's records were made from; added empty columns    | followed                                     |
| no such table, or another table under its name                  | blocked                                      |
| a table that cannot be followed (`eligibility`)                 | blocked                                      |
| a publication without it                                        | blocked                                      |
| another primary key, or another spelling of its values          | blocked                                      |
| another raw topic                                               | blocked                                      |
| a membership or a publication that was changed in between       | followed, with a fault: changes were not sent |
| a partition detached, dropped, emptied, or attached with rows   | followed, with a fault: no event             |
| a column dropped, renamed, retyped, filled, or rows rewritten   | followed, with a fault: no event             |
| a column whose values are spelled in another way                | followed, with a fault: no event             |
| a new file whose rows are all younger, without a TRUNCATE       | followed, with a fault: changes were not sent |

A *blocked* table publishes nothing until it is read again: its next records could be wrong. A followed table with a
fault publishes its changes, which are right; rows that changed without an event are stale.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from typing import NamedTuple

from sluice.cdc.eligibility import ineligibility
from sluice.cdc.pgoutput import Relation
from sluice.cdc.table_facts import BoundColumn, ColumnFacts, PublicationFacts, TableBinding, TableFacts, binding_of

# The oids of text and varchar: a value has the same spelling in both types.
_SAME_TEXT = {25, 1043}
# The number of transaction ids: they wrap around after this many.
XIDS = 1 << 32

UnexplainedChange = tuple[int, int]
"""A change without a known event: a partition's oid and the id of the transaction that emptied it, or a table's oid and
the number of its new file."""


class TableOutcome(Enum):
    FOLLOW = "followed"
    FOLLOW_WITH_FAULT = "followed, with a fault"
    BLOCK = "blocked"


class TableVerdict(NamedTuple):
    """A decision about a table. `why`: the text of the fault; "" if there is none. `fix`: the step to take before the
    table is read again; "" if none. `bound`: the new binding if the table is followed without a fault. `about_a_row`:
    one row caused the verdict, and not the definition of the table."""

    outcome: TableOutcome
    why: str = ""
    fix: str = ""
    bound: TableBinding | None = None
    about_a_row: bool = False


# The golden record of a row that is too large stays as it was. It stays so even if a later update changes small columns
# and leaves the large column out. Therefore the table has a fault, in addition to the dead letter.
ROW_TOO_LARGE = TableVerdict(
    TableOutcome.FOLLOW_WITH_FAULT,
    "a row is larger than a raw topic takes: it is parked, and its golden record stays as it was",
    "make such rows smaller, or take the large column out of the publication",
    about_a_row=True,
)


class TableCheck(NamedTuple):
    """What a check of the source found about a followed table, whose records were made from `bound`.

    `facts`: the table that has the name now. `current_name`: the current name of the followed table, if `facts` is None
    or shows another table. `filled`: the oids of new partitions that had rows before they were attached. `emptied`:
    partitions whose new file has no row from before `bound`, by oid, with the transaction that wrote the partition's
    catalog row. `refilled`: a table without partitions has a new file, which has no row from before `bound`.
    """

    bound: TableBinding
    facts: TableFacts | None
    publication: PublicationFacts
    topic_id: str
    current_name: str | None = None
    filled: frozenset[int] = frozenset()
    emptied: Mapping[int, int] = {}
    refilled: bool = False

    @property
    def unexplained(self) -> frozenset[UnexplainedChange]:
        """The changes that a TRUNCATE of the whole table may have caused; the log would contain its event."""
        files = {(self.facts.oid, self.facts.filenode)} if self.facts is not None and self.refilled else set()
        return frozenset(self.emptied.items()) | files


def table_verdict(check: TableCheck) -> TableVerdict:
    """Decide the state of the table by what the catalogs show."""
    blocked = _why_blocked(check)
    if blocked is not None:
        return blocked
    assert check.facts is not None  # noqa: S101 - `_why_blocked` blocks a table that does not exist
    why = [*_changes_not_sent(check), *_partitions(check), *_columns(check.bound, check.facts)]
    # An ALTER TABLE that changes a column and rewrites the rows is one fault: the column's.
    why = why or [*_rows(check)]
    if why:
        return TableVerdict(TableOutcome.FOLLOW_WITH_FAULT, "; ".join(why), _fix_mappings(check.bound, check.facts))
    # A change without effect on the records (a new partition, VACUUM FULL, an empty column) becomes part of the
    # binding.
    return TableVerdict(TableOutcome.FOLLOW, bound=binding_of(check.facts, check.publication, check.topic_id))


def explain_by_log(check: TableCheck, truncations: Collection[int], *, caught_up: bool) -> tuple[TableCheck, bool]:
    """Remove from `check` the changes that a TRUNCATE of the whole table explains; it empties the partitions too.

    `truncations`: the transactions in the log that truncated the whole table. `caught_up`: the log is read up to the
    LSN of the check. Until then an unexplained change is undecided and is removed too. Returns the rest of the check,
    and whether a change is undecided.
    """
    emptied = {oid: xid for oid, xid in check.emptied.items() if xid not in truncations}
    # A later statement or a savepoint may have written the table's catalog row: its transaction proves nothing. Any
    # TRUNCATE since the binding therefore explains a new file, unless a rewrite of the rows followed it.
    toast = check.facts.toast if check.facts else 0
    may_be_truncated = toast == check.bound.toast or not toast or not check.bound.toast
    refilled = check.refilled and not (may_be_truncated and truncations_since(truncations, check.bound))
    if caught_up:
        return check._replace(emptied=emptied, refilled=refilled), False
    return check._replace(emptied={}, refilled=False), bool(emptied) or refilled


def truncations_since(truncations: Collection[int], bound: TableBinding) -> tuple[int, ...]:
    """The transactions of `truncations` that may have ended after `bound` was read."""
    return tuple(xid for xid in truncations if _since(xid, bound))


def first_found_at(
    changes: Collection[UnexplainedChange], before: Mapping[UnexplainedChange, int], lsn: int
) -> dict[UnexplainedChange, int]:
    """For each change, the LSN of the first check that found it. `before`: this function's result for the check before;
    `lsn`: the LSN of this check. When the log is read up to the returned LSN, the event of the change has been read, if
    the log contains one."""
    return {change: before.get(change, lsn) for change in changes}


def relation_verdict(bound: TableBinding, relation: Relation) -> TableVerdict:
    """Decide by a shape that the log shows. The shape may have existed so briefly that the catalogs never showed it."""
    carried = {c.name for c in relation.columns if c.in_identity}
    key = set(bound.key)
    if not key <= carried or (relation.identity == "d" and key != carried):
        was, now = ", ".join(bound.key), ", ".join(sorted(carried))
        return _block(f"its primary key or REPLICA IDENTITY became ({now}); the records published have key ({was})")
    pairs = zip(bound.columns, relation.columns, strict=False)
    if all(was.name == now.name and _same_text_form(was.type_oid, now.type_oid) for was, now in pairs):
        return TableVerdict(TableOutcome.FOLLOW)
    why = "columns were dropped, renamed or retyped, for which Postgres sends no event"
    return TableVerdict(TableOutcome.FOLLOW_WITH_FAULT, why)


def columns_to_reread(bound: TableBinding, facts: TableFacts) -> frozenset[str]:
    """The names of the columns whose last published value may be wrong: the name belonged to another column, or the
    values were rewritten. If an update leaves out such a column, its value must be read again from the source."""
    rewritten = _rewritten(bound, facts)
    known = {c.number: c for c in bound.columns}
    changed = set()
    for column in facts.columns:
        before = known.get(column.number)
        if (
            before is None
            or before[:4] != column[:4]
            or _spelled_otherwise(before, column)
            or (rewritten and before.version != column.version)
        ):
            changed.add(column.name)
    return frozenset(changed)


def _why_blocked(check: TableCheck) -> TableVerdict | None:
    bound, facts = check.bound, check.facts
    if facts is None:
        return _why_missing(check.current_name)
    if facts.oid != bound.oid:
        moved = f" (the table that was followed is called {check.current_name} now)" if check.current_name else ""
        return _block(f"another table has its name now{moved}: it was swapped, or dropped and created again")
    wrong = ineligibility(facts)
    if wrong is not None:
        return _block(wrong.why, wrong.next_step)
    if facts.published is None:
        return _block("the publication lacks it: its changes are not sent")
    if check.topic_id != bound.topic_id:
        return _block("its raw topic was deleted and created again, or emptied: the records published are lost")
    if facts.primary_key != bound.key:
        was, now = ", ".join(bound.key), ", ".join(facts.primary_key)
        return _block(f"its primary key is ({now}), and was ({was}) in the records published")
    for before, column in _pairs(bound, facts):
        if column.name in bound.key and _spelled_otherwise(before, column):
            return _block(
                f"the type of its primary key column {column.name} was altered: the records published spell their "
                "keys otherwise"
            )
    return None


def _why_missing(current_name: str | None) -> TableVerdict:
    """The verdict on a missing table. Its fix never is to create an empty table: reading an empty table would delete
    all published rows."""
    if current_name:
        return _block(
            f"it does not exist any more under this name: it is called {current_name} now",
            f"give {current_name} its name back (an empty table in its place would delete what was published), or take "
            "the table out of the pipeline file",
        )
    return _block("it does not exist any more", "restore it with its rows, or take it out of the pipeline file")


def _block(why: str, fix: str = "") -> TableVerdict:
    return TableVerdict(TableOutcome.BLOCK, why, fix)


def _changes_not_sent(check: TableCheck) -> Iterator[str]:
    bound, publication, facts = check.bound, check.publication, check.facts
    if (publication.oid, publication.version) != bound.publication:
        yield "the publication was altered, or dropped and created again: changes in between were not sent"
    elif facts is not None and facts.membership != bound.membership:
        yield "it was taken out of the publication and put back, or its filter changed: changes were not sent"


def _partitions(check: TableCheck) -> Iterator[str]:
    bound = check.bound
    leaves = {leaf.oid: leaf for leaf in check.facts.leaves} if check.facts else {}
    lost = len(bound.leaves.keys() - leaves.keys())
    if lost:
        what = "1 partition was" if lost == 1 else f"{lost} partitions were"
        yield f"{what} detached or dropped, for which Postgres sends no event"
    for oid in sorted(bound.leaves.keys() & leaves.keys()):
        if bound.leaves[oid].attached not in (None, leaves[oid].attached):
            yield f"partition {leaves[oid].name} was detached and attached again: changes in between were not sent"
    for oid in sorted(check.filled & leaves.keys()):
        yield f"partition {leaves[oid].name} was attached with rows in it, for which Postgres sends no event"
    for oid in sorted(check.emptied.keys() & leaves.keys()):
        yield f"partition {leaves[oid].name} was truncated or rewritten, for which Postgres sends no event"


def _columns(bound: TableBinding, facts: TableFacts) -> Iterator[str]:
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
        elif not _same_text_form(before.type_oid, column.type_oid) or (
            column.typmod != before.typmod and column.type_oid not in _SAME_TEXT
        ):
            yield f"column {name} changed its type"
        elif _spelled_otherwise(before, column):
            yield f"the type of column {name} was altered, and its values are spelled otherwise"
        elif rewritten and column.version != before.version:
            yield f"column {name} was altered and the rows were rewritten"
    for column in facts.columns:
        published = column.name in facts.published_columns
        if published and column.number not in known and (column.filled or rewritten):
            yield f"column {column.name} was added, and older rows may have a value in it"


def _fix_mappings(bound: TableBinding, facts: TableFacts) -> str:
    """The fix for columns that are no longer published; "" if there are none. A mapping that needs such a column would
    park every row that is read again."""
    lost = [was.name for was in bound.columns if was.name not in facts.published_columns]
    if not lost:
        return ""
    return f"make {', '.join(lost)} optional in the mappings that read it: older records have it and new ones lack it"


def _rows(check: TableCheck) -> Iterator[str]:
    """The fault of rewritten rows. ALTER TABLE writes all rows in its own transaction; VACUUM FULL does not."""
    columns = check.facts.columns if check.facts else ()
    # A new stored generated column rewrites the rows too; it is not published.
    if check.refilled and not any(c.generated and _since(c.version, check.bound) for c in columns):
        yield "its rows were rewritten, as by SET UNLOGGED and SET LOGGED: changes in between were not sent"


def _since(xid: int, bound: TableBinding) -> bool:
    """Whether transaction `xid` may have ended after `bound` was read. False: it ended before."""
    return (xid - bound.xid) % XIDS < XIDS // 2


def _same_text_form(was: int, now: int) -> bool:
    return was == now or {was, now} <= _SAME_TEXT


def _spelled_otherwise(before: BoundColumn, now: ColumnFacts) -> bool:
    """Whether Postgres may spell the older values of a column in another way now. Labels added to an enum do not
    matter: no older value has them."""
    if before.spelling is None or before.type_oid != now.type_oid:
        return False
    lost = set(before.spelling) - set(now.spelling)
    added = set(now.spelling) - set(before.spelling)
    return bool(lost) or not all(word.startswith("label ") for word in added)


def _pairs(bound: TableBinding, facts: TableFacts) -> Iterator[tuple[BoundColumn, ColumnFacts]]:
    now = {c.number: c for c in facts.columns}
    return ((before, now[before.number]) for before in bound.columns if before.number in now)


def _rewritten(bound: TableBinding, facts: TableFacts) -> bool:
    """Whether a file of the table was replaced since `bound` was read, as ALTER TABLE and TRUNCATE do. VACUUM FULL does
    it as well, and alters no column."""
    if facts.filenode != bound.filenode:
        return True
    return any(leaf.oid in bound.leaves and leaf.filenode != bound.leaves[leaf.oid].filenode for leaf in facts.leaves)
