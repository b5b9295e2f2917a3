"""Questions to the archive: a JSON language, its translation to SQL, the run within limits, and the table that answers.

Layer: vocabulary; `eventmw.query.language` is pure, `eventmw.query.run` asks the database.
"""
