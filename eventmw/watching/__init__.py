"""What operators watch: structured logs, figures for Prometheus, readiness.

Everything in here is put around the parts that work, when a setting asks for it: `requests` around an exchange, `delivery`
around what the courier uses. Without those settings none of it runs. `watch` is told what happened; `eventlog` and `tally`
are where it goes; `exposition` and `pages` answer who asks.

Layer: vocabulary: this file only names the folder.
"""
