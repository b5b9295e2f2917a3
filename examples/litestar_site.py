"""A Litestar site that takes events at /zaraz/api.

Run it:      uvicorn --app-dir examples litestar_site:app
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


app = EventsMiddleware(Litestar([front]), path="/zaraz/api", tools=[Console()])
