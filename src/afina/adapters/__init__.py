"""This room has what every adapter needs: building, files, slices of fused projections, merging, other programs' forms."""
