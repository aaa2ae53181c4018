"""What every adapter needs: building, files, slices of fused projections, merging, and formats of other programs."""
