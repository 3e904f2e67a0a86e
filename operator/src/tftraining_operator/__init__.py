"""Operator of tftraining."""
