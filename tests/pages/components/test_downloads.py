"""Names of what is taken away."""

from __future__ import annotations

import samples

from pages.components.run.downloads import file_name


def test_names_say_what_the_file_is(filled) -> None:
    run = samples.add_fusion(seed=3)
    assert file_name(run, "safetensors") == f"my-set_kf_linear_seed3_{run[-4:]}.safetensors"
    changed = samples.add_run("fuse", {"parents": "gone", "recipe": {"name": "a/b"}})
    assert file_name(changed, "report.json") == f"a-b-changed_seed0_{changed[-4:]}.report.json"
    board = samples.add_run("leaderboard", {"parents": samples.PARENTS, "seeds": [0]})
    assert file_name(board, "csv") == f"my-set_leaderboard_seed0_{board[-4:]}.csv"
