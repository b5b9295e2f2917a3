"""Charts of what a query answers: one self-contained page, and signed links that put it into somebody's page.

Layer: pure rules. Source: PROTOCOLS.md 3.3; the looks are ours.
"""
