"""Becomes a server process: drops root, arranges to end with its parent or to outlive it, then executes the command.

It is a script of its own (`python -I -S launch.py '<json>' command…`): a program with threads must do nothing between
fork and exec. It imports nothing of Sluice. The JSON object:

* `parent`: the pid whose death ends this process, or 0 for a server that outlives the process that started it;
* `death_signal`: the signal that the kernel sends then;
* `uid`, `gid`: the user to run as (only root can change it), or null;
* `log`: the file to which stdout and stderr are appended;
* `idle`: whether to run at the lowest priority;
* `delay_s`: how long to wait first; this small program takes little memory meanwhile.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time

PR_SET_PDEATHSIG = 1


def main() -> None:
    options, command = json.loads(sys.argv[1]), sys.argv[2:]
    log = os.open(options["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    if options["parent"] == 0 and (child := os.fork()):
        os.write(1, str(child).encode())  # the caller reads the pid
        os._exit(0)  # the server is now a child of init, which reaps it
    os.dup2(log, 1)
    os.dup2(log, 2)
    if options["uid"] is not None:
        os.setgroups([])
        os.setgid(options["gid"])
        os.setuid(options["uid"])
    if options["parent"]:
        # After setuid, which would clear it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, options["death_signal"], 0, 0, 0)
        if os.getppid() != options["parent"]:
            sys.exit(1)  # the parent died before prctl was called
    if options["idle"]:
        os.nice(19)
    time.sleep(options["delay_s"])
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
