"""Figures of merit, statistics over runs, pictures, and the work spread over processes or machines."""
