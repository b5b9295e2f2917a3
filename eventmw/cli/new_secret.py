"""``eventmw new-secret``: a secret for a `Webhook`, on standard output.

Layer: people.
"""

from __future__ import annotations

import secrets
from typing import Final

import click

from eventmw.tools.webhook import new_secret as secret_of

_KEY_BYTES: Final = 32
"""As many as HMAC-SHA256 makes use of. Source: RFC 2104, 3."""


@click.command("new-secret", short_help="A new secret for a webhook.")
def new_secret() -> None:
    """Print a new secret for a Webhook: whsec_ and the base64 of 32 random bytes.

    \b
      export HOOK_SECRET=$(eventmw new-secret)

    The receiver needs the same text; the libraries of Standard Webhooks take it as it is. Nothing is kept here, so you
    won't be able to see this secret again.
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    click.echo(secret_of(secrets.token_bytes(_KEY_BYTES)))
