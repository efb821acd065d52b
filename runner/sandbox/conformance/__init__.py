"""Probes that try, from inside a sandbox, what it must not allow; and the proof that each of them can fail.

`suite` starts a sandbox of one profile and runs every probe that applies. Started as in production, each must answer
"blocked". Started with an ablation (one or two protections taken away inside bubblewrap, never the sandbox as a
whole), the probes that name it must answer "reached": a probe that nothing can make fail proves nothing. Every probe is
harmless when it succeeds. The modules of this package that run inside use the standard library only.
"""
