"""Joint centres in 3D and over time: depth, limb lengths and body shape weighed, smoothed, several cameras fused."""
