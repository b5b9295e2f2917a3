"""The dialects: one protocol a file. Siblings never import each other."""
