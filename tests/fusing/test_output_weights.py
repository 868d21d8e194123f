"""How much each parent counts at the output, by rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusion_engine.core.errors import RecipeError
from fusion_engine.fusing import output_weights
from tests.post.fused_cases import fused_case


@pytest.mark.parametrize("size", [None, 3])
def test_without_counts_of_these_classes_importance_stands_in(size: int | None) -> None:
    """No counts, or counts of other classes than the model's five."""
    _, context, _ = fused_case("mlp", class_counts=None if size is None else np.ones((2, size)))
    wanted = output_weights(context.inputs, "importance").weights
    for rule in ("auto", "known_share"):
        assert torch.equal(output_weights(context.inputs, rule).weights, wanted)
    with pytest.raises(RecipeError, match="class_share"):
        output_weights(context.inputs, "class_share")


def test_with_counts_shares_count() -> None:
    counts = np.array([[3, 0, 1, 5, 0], [1, 4, 1, 5, 0]])
    _, context, _ = fused_case("mlp", class_counts=counts)
    share, importance, both = (
        output_weights(context.inputs, rule).weights for rule in ("known_share", "importance", "auto")
    )
    torch.testing.assert_close(share[0], torch.tensor([0.75, 0.0, 0.5, 0.5, 0.5], dtype=torch.float64))
    torch.testing.assert_close(both, (share + importance) / 2)
    torch.testing.assert_close(both.sum(0), torch.ones(5, dtype=torch.float64))
