"""Policies: what to do next under a reward, and how a person's hand moves while doing it."""
