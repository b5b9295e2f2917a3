"""A Quart site that takes events at /zaraz/api.

Run it:      quart --app examples/quart_site.py run
        or:  uvicorn --app-dir examples quart_site:app
Try it:      sh examples/seed_payloads.sh http://127.0.0.1:8000/zaraz/api
See:         one line for each event on the server's output
"""

from quart import Quart

from eventmw import EventsMiddleware
from eventmw.tools import Console

app = Quart(__name__)


@app.get("/")
async def front() -> str:
    return "<h1>Hello from Quart</h1>"


app.asgi_app = EventsMiddleware(app.asgi_app, path="/zaraz/api", tools=[Console()])  # type: ignore[method-assign]
