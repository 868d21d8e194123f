"""The app's process draws; it must never load what computes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import sys
sys.path.insert(0, {tests!r})
import samples
from analysis_samples import add_analysis
from fusion_engine.jobs import client
from streamlit.testing.v1 import AppTest

client.ensure_running = lambda wait=True: None
client.is_running = lambda: True
client.submit = lambda kind, arguments: samples.add_run(kind, arguments, "queued")
samples.add_catalogue()
samples.add_parents()
run = samples.add_fusion()
analysis = add_analysis({{"parents": samples.PARENTS, "data": "digits:train"}})
for page in ("start", "parents", "explore", "fuse", "compare", "analyse"):
    app = AppTest.from_file("app.py", default_timeout=60)
    parameters = dict(parents=samples.PARENTS, data="digits:train", run=run, demo=run, analysis=analysis, view="pca")
    for key, value in parameters.items():
        app.query_params[key] = value
    app.switch_page(f"pages/{{page}}.py").run()
    assert not app.exception, page
    assert app.title or app.get("html"), page
print(sorted({{"torch", "umap", "sklearn", "scipy", "numba", "captum", "ot"}} & set(sys.modules)))
"""


def test_no_page_loads_what_computes(tmp_path: Path) -> None:
    code = CODE.format(tests=str(Path(__file__).parent))
    environment = os.environ | {"FUSION_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().splitlines()[-1] == "[]"
