"""What `eventmw demo` shows: three real sites under real servers, a local vendor, and a story of good and bad events.

``flask_site``, ``django_site`` and ``fastapi_site`` are ordinary sites, each wrapped in one line; ``tools`` is where their
events go. ``story`` says what is sent and what is promised of it, ``servers`` starts the sites, ``play`` sends the story and
gathers what happened, ``verdict`` holds that against the promises, ``table`` shows it. The command is `eventmw.cli.demo`.

Layer: above everything; nothing of a running site imports it.
"""
