"""Faults at random times of motions, on simulated arms and on the real protocol clients, and a judge of the guard."""
