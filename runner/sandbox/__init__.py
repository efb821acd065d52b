"""The sandbox a turn runs in: bubblewrap with its own user, pid, net, ipc and uts namespaces, and no network at all.

`launch` starts it, `check` tests each protection on this host. The way in: launch -> stage (drops the uid, applies
limits) -> bwrap (namespaces, minimal root, seccomp) -> boot (asserts that it is really confined) -> the module.
Every step fails closed: where a protection is missing, nothing runs.
"""
