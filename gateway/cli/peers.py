"""`art18 peers`: the other authorities, and the ceremony by which they are pinned."""

from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console

from gateway.cli.program import Failure, UsageFault
from gateway.cli.session import Session, with_session
from gateway.cli.terminal import moment, pairs, plain, table
from gateway.core.card import parse_card
from gateway.core.errors import Malformed, NotProved
