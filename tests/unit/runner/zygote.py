"""Forks runners from a parent that has imported everything: `python zygote.py`, one line of JSON per runner on stdin.

Prints `start PID`, then `end STATUS` (exit code, or minus the signal) for each.
"""

import json
import os
import sys

import runner.main

for line in sys.stdin:
    wanted = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.environ.update(wanted["env"])
        sys.stdin.close()
        os._exit(runner.main.main())
    sys.stdout.write(f"start {pid}\n")
    sys.stdout.flush()
    status = os.waitpid(pid, 0)[1]
    sys.stdout.write(f"end {os.waitstatus_to_exitcode(status)}\n")
    sys.stdout.flush()
