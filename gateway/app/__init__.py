"""The node: the only place that knows all parts, starts them and stops them."""

from gateway.config import Settings
from gateway.ports import Clock, Entropy, Probe


def serve(
    settings: Settings,
    *,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
    probe: Probe | None = None,
    unwitnessed: str | None = None,
) -> None:
    """Run a node until SIGTERM or SIGINT; a test may pass its own clock, dice and probe.

    *unwitnessed* is why a restored node may start although no peer says how far its log was.

    Raises:
        Misconfigured, VaultFault: the node cannot start as it is set up.
    """
    from gateway.app.process import run  # noqa: PLC0415 - the command line uses parts of app without the node

    run(settings, clock=clock, entropy=entropy, probe=probe, unwitnessed=unwitnessed)
