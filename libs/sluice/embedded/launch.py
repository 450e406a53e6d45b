"""Turns itself into a server process: it changes the user, arranges when the server ends, then executes its command.

It is a script of its own (`python -I -S launch.py '<json>' command…`), because a program with threads must do nothing
between fork and exec. It imports nothing of Sluice. The members of the JSON object:

* `parent`: the pid of the process whose death ends the server, or 0 for a server that outlives its starter;
* `death_signal`: the signal that the kernel sends to the server when `parent` dies;
* `uid`: the user that runs the server (only root can change it), or null; `gid`: the user's group;
* `log`: the file to which the server's stdout and stderr are appended;
* `idle`: whether the server runs at the lowest priority;
* `delay_s`: how long to wait before the command is executed; this script uses little memory meanwhile.
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
        os.write(1, str(child).encode())  # the process that started this script reads the pid of the server
        os._exit(0)  # the server becomes a child of init, which collects its exit status
    os.dup2(log, 1)
    os.dup2(log, 2)
    if options["uid"] is not None:
        os.setgroups([])
        os.setgid(options["gid"])
        os.setuid(options["uid"])
    if options["parent"]:
        # Set the death signal after setuid, because setuid clears it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, options["death_signal"], 0, 0, 0)
        if os.getppid() != options["parent"]:
            sys.exit(1)  # the parent died before prctl was called, so the kernel will send no signal
    if options["idle"]:
        os.nice(19)
    time.sleep(options["delay_s"])
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
