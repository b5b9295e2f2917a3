"""The toolkit: what tools are built from. Pure rules; siblings in ``tools/`` share it instead of each other.

Layer: pure rules.
"""
