"""Stages on files, figures of merit, pictures and reports."""
