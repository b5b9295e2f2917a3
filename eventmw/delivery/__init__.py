"""Delivery: from the journal to the vendors, for each tool by itself.

`courier` is the thread, `shift` all lanes while the lease is held, `driver` one lane on the loop, `lane` one tool's way
through the journal, `queue` its decisions, `settlement` its commits, `outbound` what leaves the process.

Layer: input and output; `batches`, `duplicates`, `endings` and `queue` are pure rules.
"""
