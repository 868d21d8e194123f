"""Correlations as a heat map, and the pairs that stand out of it."""

import numpy as np
import pytest
import samples

from pages.components.groupings import correlation_map


@pytest.fixture
def explore(open_page, filled):
    run = samples.add_fusion()

    def open_explore(**parameters: str):
        return open_page("explore", parents=samples.PARENTS, data="digits:train", run=run, view="pca", **parameters)

    return open_explore, run


def test_pairs_that_the_grouping_parts_or_joins_against_their_correlation() -> None:
    groups = np.array([0, 0, 1, 1, -1, -1])
    hundredths = np.eye(6) * 100
    for (a, b), value in {(0, 1): 80, (2, 3): -10, (1, 2): 95, (4, 5): -50, (0, 4): 30}.items():
        hundredths[a, b] = hundredths[b, a] = value
    hundredths = hundredths.astype(np.int8)
    assert correlation_map.apart(groups, hundredths).tolist() == [[1, 2], [0, 4]]
    assert correlation_map.together(groups, hundredths).tolist() == [[2, 3], [0, 1]]
    assert correlation_map.together(np.array([-1, -1]), hundredths[:2, :2]).tolist() == []


def test_of_many_neurons_a_place_opens_the_most_correlated_pair() -> None:
    hundredths = np.zeros((250, 250), np.int8)
    hundredths[3, 7] = -60
    rows, columns = correlation_map.places(hundredths)
    assert len(rows) == 100 * 100
    assert (3, 7) in set(zip(rows.tolist(), columns.tolist(), strict=True))
    assert not (rows == columns).any()
    assert len(correlation_map.places(hundredths[:20, :20])[0]) == 400


def test_correlations_are_listed_and_drawn(explore) -> None:
    app = explore[0](space="fc0", section="Correlations")
    assert not app.exception
    tables = [t.value for t in app.dataframe if "With" in t.value]
    assert tables[0].iloc[0].tolist() == ["parent_0:0", "parent_1:1", 0.9, "0, 1"]
    assert tables[1].iloc[0].tolist() == ["parent_0:2", "parent_1:2", -0.2, "2"]


def test_an_older_run_says_that_it_has_kept_no_correlations(explore) -> None:
    open_explore, run = explore
    (samples.store.run_folder(run) / "features.npz").unlink()
    app = open_explore(section="Correlations")
    assert any("has kept no correlations" in c.value for c in app.caption)


def test_groups_of_several_neurons_are_outlined() -> None:
    across, down = correlation_map.outlines(np.array([5, 5, 2, 7, 7, 7, -1, -1]))
    assert np.nan_to_num(across, nan=9).tolist() == [-0.5, 1.5, 1.5, -0.5, -0.5, 9, 2.5, 5.5, 5.5, 2.5, 2.5, 9]
    assert np.nan_to_num(down, nan=9).tolist() == [-0.5, -0.5, 1.5, 1.5, -0.5, 9, 2.5, 2.5, 5.5, 5.5, 2.5, 9]
