"""Becomes a server process: drops root, ties its life to its parent's or cuts loose from it, then executes the command.

Run as a script of its own (`python -I -S launch.py '<json>' command…`), so that nothing has to happen between fork and
exec inside a program full of threads. It imports nothing of Sluice. The JSON object:

* `parent`: the pid whose death ends this process, or 0 for a server that outlives whoever started it;
* `death_signal`: what the kernel sends then;
* `uid`, `gid`: whom to become (only root can), or null;
* `log`: the file that gets stdout and stderr, appended;
* `idle`: whether to use only what processor time nobody else wants;
* `delay_s`: how long to wait first, while this small program is all the memory it takes.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time

PR_SET_PDEATHSIG = 1


def main() -> None:
    how, command = json.loads(sys.argv[1]), sys.argv[2:]
    log = os.open(how["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    if how["parent"] == 0 and (child := os.fork()):
        os.write(1, str(child).encode())  # the caller learns the pid
        os._exit(0)  # the server is now a child of init, which reaps it
    os.dup2(log, 1)
    os.dup2(log, 2)
    if how["uid"] is not None:
        os.setgroups([])
        os.setgid(how["gid"])
        os.setuid(how["uid"])
    if how["parent"]:
        # After setuid, which would clear it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, how["death_signal"], 0, 0, 0)
        if os.getppid() != how["parent"]:
            sys.exit(1)  # the parent died before the kernel knew that it matters
    if how["idle"]:
        os.nice(19)
    time.sleep(how["delay_s"])
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
