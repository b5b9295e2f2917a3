"""A FastAPI site that takes events at /zaraz/api, and sends one from its own code.

Run it:      fastapi run examples/fastapi_site.py
        or:  uvicorn --app-dir examples fastapi_site:app
Try it:      sh examples/seed_payloads.sh http://127.0.0.1:8000/zaraz/api
             curl -X POST http://127.0.0.1:8000/orders/7
See:         one line for each event on the server's output
"""

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

import eventmw
from eventmw.tools import Console

app = FastAPI()
app.add_middleware(eventmw.EventsMiddleware, path="/zaraz/api", tools=[Console()])


@app.get("/", response_class=HTMLResponse)
async def front() -> str:
    return "<h1>Hello from FastAPI</h1>"


@app.post("/orders/{number}")
async def order(number: int, request: Request) -> dict[str, int]:
    await eventmw.atrack("order placed", {"number": number}, id=f"order-{number}", request=request)
    return {"ordered": number}
