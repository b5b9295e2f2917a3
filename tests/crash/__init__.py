"""The crash harness: what drives, kills, fools and audits a journal. `docs/crash.md` says how to run and read it.

Nothing that judges shares a process with what is judged: the driver, the sink, the killer and the auditor go on when the
subject dies. Breakage for the positive controls is done to the subject's process from outside (`tests.crash.broken`).
"""
