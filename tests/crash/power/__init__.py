"""L3, power loss: a recording of one run becomes every disk that a power cut could have left.

`recording` reads what strace wrote, `disk` is what a file system promises, `images` chooses what of the unsynced survived.

The promises are those of POSIX and no more: a write is on disk when a sync of that file, begun after it, has come back; a
name when a sync of its folder has. What is not synced may be there, may not, in part, and in any order. A failed sync
leaves the pages clean: what it was to write is never on disk, however often one asks again (PostgreSQL's lesson).
"""
