"""Values of our own formats, for schemathesis, which knows them not."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies as st

_TIMES = ("2021-06-26T14:48:00.000Z", "2021-06-26T14:48:00", "2021-06-26", "2021-06-26T14:48:00.000+09:00")

for _name, _values in {
    "eventmw-timestamp": (*_TIMES, "Sat, 26 Jun 2021 14:48:00 GMT", "2021-06-26 14:48:00.5+00", ""),
    "eventmw-ip": ("192.0.2.1", "2001:db8::1"),
    "eventmw-origin": ("https://shop.example", "http://localhost:8000", "null"),
}.items():
    schemathesis.openapi.format(_name, st.sampled_from(_values))
