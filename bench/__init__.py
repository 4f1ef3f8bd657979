"""Measurements of the control plane as `weft run` runs it. Rule: nothing here is part of the product."""
