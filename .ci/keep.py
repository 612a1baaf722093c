"""Keep what the docs need of a finished run: python .ci/keep.py RUN_FOLDER NEW_FOLDER copies its results and its
analysis, without the blanks."""

import json
import sys
from pathlib import Path

from bayes_lora_layers.results import read_run
from bayes_lora_layers.verdict import analyse

run, kept = map(Path, sys.argv[1:])
analyse(read_run(run))
kept.mkdir(parents=True, exist_ok=True)
for name in ("layer_wise_results.json", "analysis_summary.json"):
    (kept / name).write_text(json.dumps(json.loads((run / name).read_text()), separators=(",", ":")) + "\n")
