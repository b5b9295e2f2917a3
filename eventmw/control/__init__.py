"""Control: how commands and trackers reach the process that holds a journal.

`server` and `operations` answer in the site's process, `live` asks from outside; `view` is the port between, which a
journal on disk will fill without asking anybody.

Layer: input and output.
"""
