"""Neurons as points in the plane: exact principal coordinates, and UMAP."""

from .fuzzy_graph import METRICS
from .pca import PrincipalCoordinates, principal_coordinates, principal_coordinates_of
from .umap import Embedding, umap_coordinates

__all__ = [
    "METRICS", "Embedding", "PrincipalCoordinates", "principal_coordinates", "principal_coordinates_of",
    "umap_coordinates",
]  # fmt: skip
