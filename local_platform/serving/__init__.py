"""Serving: batched, streaming generation with LoRA adapters, and the OpenAI-compatible routes in front of it.

The two settings below must stand before the first import of torch in the process: measured on a busy two-core
machine, spinning OpenMP threads made one step 4 to 10 times slower. Every module of this package that imports torch
is imported after this line.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")
