"""Weights changed by what is known about their spaces: permuted, transformed, merged."""
