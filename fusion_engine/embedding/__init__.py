"""Neurons as points in the plane: exact principal coordinates, and UMAP."""

from .pca import PrincipalCoordinates, principal_coordinates
from .umap import Embedding, umap_coordinates

__all__ = ["Embedding", "PrincipalCoordinates", "principal_coordinates", "umap_coordinates"]
