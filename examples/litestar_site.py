"""A Litestar site that takes events at /zaraz/api. Litestar's own `middleware` runs for existing routes only.

Run it:      litestar --app-dir examples --app litestar_site:app run
        or:  uvicorn --app-dir examples litestar_site:app
Try it:      sh examples/seed_payloads.sh http://127.0.0.1:8000/zaraz/api
See:         one line for each event on the server's output
"""

from litestar import Litestar, get
from litestar.enums import MediaType

from eventmw import EventsMiddleware
from eventmw.tools import Console


@get("/", media_type=MediaType.HTML)
async def front() -> str:
    return "<h1>Hello from Litestar</h1>"


app = Litestar([front])
app.asgi_handler = EventsMiddleware(app.asgi_handler, path="/zaraz/api", tools=[Console()])
