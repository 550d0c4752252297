"""Files in and out: artefacts (NumPy and JSON) and RGB-D recordings (MCAP). Nothing half-written is left behind."""
