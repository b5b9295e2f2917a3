"""A Flask site that takes events at /zaraz/api.

Run it:      flask --app examples/flask_site.py run
        or:  gunicorn --chdir examples flask_site:app
Try it:      sh examples/seed_payloads.sh http://127.0.0.1:8000/zaraz/api
See:         one line for each event on the server's output
"""

from flask import Flask

from eventmw import EventsMiddleware
from eventmw.tools import Console

app = Flask(__name__)


@app.get("/")
def front() -> str:
    return "<h1>Hello from Flask</h1>"


app.wsgi_app = EventsMiddleware(app.wsgi_app, path="/zaraz/api", tools=[Console()])  # type: ignore[method-assign]
