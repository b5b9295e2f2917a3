"""A Starlette site that takes events at /zaraz/api, wrapped as Starlette's own middleware.

Run it:      uvicorn --app-dir examples starlette_site:app
Try it:      sh examples/seed_payloads.sh http://127.0.0.1:8000/zaraz/api
See:         one line for each event on the server's output
"""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from eventmw.asgi import EventsMiddleware
from eventmw.tools import Console


async def front(request: Request) -> HTMLResponse:
    return HTMLResponse("<h1>Hello from Starlette</h1>")


app = Starlette(
    routes=[Route("/", front)],
    middleware=[Middleware(EventsMiddleware, path="/zaraz/api", tools=[Console()])],
)
