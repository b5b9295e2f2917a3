"""The intake: what is decided of a request before its meaning: from its path, its head, and its bytes as they come.

Layer: pure rules, and the little state between requests that rates and known ids need.
"""
