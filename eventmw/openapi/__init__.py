"""The OpenAPI document: what each call says of itself, and how one document is made of it.

Layer: vocabulary.
"""
