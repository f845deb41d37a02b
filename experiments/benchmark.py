"""Compares methods of reconstruction on a folder of audio: ``isincnet benchmark`` as a script.

    python experiments/benchmark.py DIR [--out results.json --html page.html ...]

``python experiments/benchmark.py --help`` lists the options. The same command goes on with a run
that was interrupted.
"""

from __future__ import annotations

import sys

from isincnet_jax.cli import main

if __name__ == "__main__":
    sys.argv[:1] = ["isincnet", "benchmark"]
    main()
