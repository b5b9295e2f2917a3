"""The sites that the server benchmarks start, each in a process of its own."""
