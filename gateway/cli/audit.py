"""`art18 audit`: the audit log, read and verified here, without trust in the node that serves it."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from gateway.app.own_card import read_card
from gateway.cli.hook import Hook, path_of
from gateway.cli.program import UsageFault
from gateway.cli.session import Session, with_session
from gateway.cli.terminal import moment, pairs, table
from gateway.core.card import Card
from gateway.core.entry import parse_entry
from gateway.core.errors import NotIncluded, Untrusted, WrongSubject
from gateway.core.merkle import Frontier, leaf_hash, verify_inclusion
from gateway.core.note import verify_checkpoint
from gateway.core.proof import Receipt, parse_proof
from gateway.core.strict import time_text
