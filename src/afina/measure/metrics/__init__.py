"""Figures of how good answers are; one entry a metric, found by walking this folder."""
