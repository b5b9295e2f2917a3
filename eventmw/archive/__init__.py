"""The archive: every tracked event as a row, for questions. Filled from the journal by its own cursor.

Layer: input and output.
"""
