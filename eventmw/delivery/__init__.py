"""Delivery: from the journal to the vendors, for each tool by itself.

The thread: `courier` is the thread, `loop` its event loop, `shift` all lanes while the lease is held, `driver` one lane on
the loop, `pacer` its rests, `holds` and `watchdog` what becomes of tools that keep the thread, `outbound` what leaves the
process. One tool's way: a `lane`, in which `intake`, `revival` and `admission` take events in, `queue` decides how they go
on, and `settlement` commits. The rules: `line` says which batch departs, `circuit` whether the vendor is asked at all,
`rate` how often, `order` what may not overtake what, `endings` how events end.

Layer: input and output; `batches`, `circuit`, `dispatcher`, `duplicates`, `endings`, `line`, `order`, `queue`, `rate`,
`readahead` and `rules` are pure rules.
"""
