"""Control: how commands and trackers reach the process that holds a journal.

`server` and `operations` answer in the site's process, `live` asks from outside; `view` is the port between, which `folder`
fills for a journal on disk, asking the processes only what they alone know. `inspection` chooses.

Layer: input and output.
"""
