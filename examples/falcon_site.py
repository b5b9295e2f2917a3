"""A Falcon site that takes events at /zaraz/api.

Run it:      gunicorn --chdir examples falcon_site:app
Try it:      sh examples/seed_payloads.sh http://127.0.0.1:8000/zaraz/api
See:         one line for each event on the server's output
"""

import falcon

from eventmw import EventsMiddleware
from eventmw.tools import Console


class Front:
    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        response.content_type = falcon.MEDIA_HTML
        response.text = "<h1>Hello from Falcon</h1>"


site = falcon.App()
site.add_route("/", Front())

app = EventsMiddleware(site, path="/zaraz/api", tools=[Console()])
