"""Takes the place of boot.py where a protection has been taken away on purpose, since boot.py would refuse to go on.

`enter.py PROFILE PROCESSES PATHS MODULE [ARGUMENT...]`: runs the probes and nothing else, whatever the module.
"""

import sys

sys.path[:] = [path for path in sys.path if not path.startswith("/opt/app")]
sys.path.extend(sys.argv[3].split(":"))

from runner.sandbox.boot import limit_processes  # noqa: E402 - importable only now
from runner.sandbox.conformance.inside import main  # noqa: E402

if __name__ == "__main__":
    if sys.argv[2] != "unlimited":
        limit_processes(int(sys.argv[2]))
    del sys.argv[1:5]
    main()
