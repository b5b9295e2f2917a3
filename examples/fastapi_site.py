"""A FastAPI site that takes events at /zaraz/api, and sends one from its own code.

Run it:      uvicorn --app-dir examples fastapi_site:app
Try it:      sh examples/seed_payloads.sh http://127.0.0.1:8000/zaraz/api
             curl -X POST http://127.0.0.1:8000/orders/7
See:         one line for each event on the server's output
"""

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from eventmw import EventsMiddleware
from eventmw.tools import Console

site = FastAPI()


@site.get("/", response_class=HTMLResponse)
async def front() -> str:
    return "<h1>Hello from FastAPI</h1>"


@site.post("/orders/{number}")
async def order(number: int) -> dict[str, int]:
    await app.atrack("order placed", {"number": number}, id=f"order-{number}")
    return {"ordered": number}


app = EventsMiddleware(site, path="/zaraz/api", tools=[Console()])
