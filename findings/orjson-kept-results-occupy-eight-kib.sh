#!/usr/bin/env bash
# orjson 3.13.0 on CPython 3.11 and Linux with glibc, seen on 2026-11-30, compared with orjson 3.11.9 and msgspec
# 0.22.0.
#
# A program that keeps the results of orjson.dumps, such as a list, a queue or a cache of encoded records, grows by
# much more than their length: 20,000 results of 525 bytes each (a record of 20 short fields) need 8,160 bytes of
# memory per result. A copy of the same result needs 576 bytes, and the result of a msgspec encoder 753. sys.getsizeof
# does not show it: it reports 558 bytes.
#
# orjson writes into a bytes object of 4 KiB, and doubles that object until it has room for a generous estimate of the
# next object, array or string. At the end orjson sets the object's length to the length of the text, and only then
# calls _PyBytes_Resize. That function sees that the length is already right and returns, so the rest is never freed.
#
# So a result keeps 4 KiB at least. How much it keeps depends on the shape of the value more than on its length: 525
# bytes in 2 to 12 fields keep 4 KiB, in 15 to 24 fields 8 KiB, in 30 fields 16 KiB; a list of 100 small integers, 291
# bytes, keeps 16 KiB. A long result needs less than the capacity it keeps, because pages that were never written to
# are not in memory.
#
# orjson 3.12.0 keeps as much. In 3.10.18 and 3.11.9 the object starts with 1 KiB and is not shrunk either: 1,071
# bytes instead of 8,160. A single string of 525 bytes keeps 8 KiB there, too. A msgspec result keeps up to half of
# its length more. Issue 483 of orjson reported the memory of kept results and was closed as invalid; pull request
# 181245 of Home Assistant's core returned to orjson 3.11.9 for this reason.
#
# Workaround: keep a copy, b"%b" % result. bytes(result) and result[:] are no copies.
#
# Output seen, the numbers of three runs differ by less than 10:
#   bytes of memory for each kept result
#   length  orjson 3.13.0    copy  msgspec  orjson 3.11.9
#      100           4111     144      194           1071
#      525           8160     576      753           1071
#     2000           8160    2048     2896           4144
#     9000          13136    9056    12864          13138
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check orjson==3.13.0 msgspec==0.22.0
venv/bin/pip install --quiet --disable-pip-version-check --target older orjson==3.11.9
cat > measure.py <<'PYTHON'
"""How many bytes of resident memory each result needs, if a program keeps 20,000 results of `size` bytes."""

import os
import sys

import msgspec
import orjson

KEPT = 20_000
how, size = sys.argv[1], int(sys.argv[2])
encode = {
    "orjson": orjson.dumps,
    "copy": lambda value: b"%b" % orjson.dumps(value),
    "msgspec": msgspec.json.Encoder().encode,
}[how]


def record(fields):
    """A record whose JSON text has `size` bytes, in up to 20 fields."""
    empty = {f"f{number}": "" for number in range(fields)}
    left = size - len(orjson.dumps(empty))
    return {name: "x" * (left // fields + (number < left % fields)) for number, name in enumerate(empty)}


def resident():
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


value = record(20 if size > 500 else 5)
results = [None] * KEPT
before = resident()
for number in range(KEPT):
    results[number] = encode(value)
each = (resident() - before) // KEPT
assert all(len(result) == size for result in results)
print(each)
PYTHON
each() { venv/bin/python measure.py "$@"; }
echo "bytes of memory for each kept result"
echo "length  orjson 3.13.0    copy  msgspec  orjson 3.11.9"
changed=
for size in 100 525 2000 9000; do
  now=$(each orjson "$size")
  copy=$(each copy "$size")
  msgspec=$(each msgspec "$size")
  older=$(PYTHONPATH=older each orjson "$size")
  printf '%6d %15d %7d %8d %14d\n' "$size" "$now" "$copy" "$msgspec" "$older"
  case $size in 100) least=4000 older_most=1300 ;; 525) least=8000 older_most=1300 ;;
                2000) least=8000 older_most=4400 ;; 9000) least=12000 older_most=16400 ;; esac
  [ "$now" -ge "$least" ] && [ "$older" -le "$older_most" ] && [ "$copy" -le $((size + 200)) ] &&
    [ "$msgspec" -le $((size * 3 / 2 + 200)) ] || changed=yes
done
[ -z "$changed" ] || { echo "this has changed" >&2; exit 1; }
