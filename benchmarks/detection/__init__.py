"""Real trainings, healthy and broken on purpose, and how well the engine tells them apart.

``python -m benchmarks.detection`` trains small networks on the CPU under the public client, exports each run to a file,
judges the files with both profiles and prints what was found, named, missed and raised in vain.
"""

from __future__ import annotations
