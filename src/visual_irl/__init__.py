"""Learn a manipulation task from RGB-D demonstrations and do it on a cobot. Importing this is light."""

__version__ = "0.1.0"
