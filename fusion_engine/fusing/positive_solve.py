"""Linear systems with a positive semi-definite matrix: by Cholesky, or the smallest solution where it is singular."""

import torch
from torch import Tensor


def solve_positive(matrix: Tensor, right: Tensor) -> Tensor:
    """matrix^-1 right, matrix (..., d, d), right (..., d, m); the smallest solution where one is singular."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if not bool(failed.any()):
        return torch.cholesky_solve(right, factor)
    return smallest_solution(matrix, right, matrix.shape[-1] * torch.finfo(matrix.dtype).eps)


def smallest_solution(matrix: Tensor, right: Tensor, tolerance: float) -> Tensor:
    """The same with the directions left out whose eigenvalue is below `tolerance` of the largest."""
    values, vectors = torch.linalg.eigh(matrix)
    zero = values <= tolerance * values.amax(-1, keepdim=True)
    coefficients = (vectors.mT @ right) / torch.where(zero, torch.inf, values)[..., None]
    smallest: Tensor = vectors @ coefficients
    return smallest
