"""Files in and out: artefacts (NumPy and JSON), RGB-D recordings (MCAP) and videos. Nothing half-written is ever left behind."""
