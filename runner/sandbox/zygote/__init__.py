"""Runners that are forked: a parent that has imported everything once, and a way into a room that bubblewrap built.

`client` (in the control process) starts the zygote and asks it for runners. The zygote forks a `keeper` for each; that
one has bubblewrap build a `room` with the same flags as ever, forks the runner, which walks in (`entry`), and reports
how it ended. The zygote holds no secret and no descriptor but one socket, and reads nothing that a runner wrote.
"""
