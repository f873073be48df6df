"""The authority's own profile: what it accepts and requires, shown and published (protocol §4)."""

import asyncio
import zoneinfo
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus

from aiohttp import web

from gateway.core.errors import Flaw, Malformed, Misuse
from gateway.core.profile import Profile, ProfileFault
from gateway.core.strict import parse_object
from gateway.web.context import CONTEXT
from gateway.web.documents import flag, query, read_json_bytes, respond
from gateway.web.middleware import BEARER
from gateway.web.peers import profile_view


async def show(request: web.Request) -> web.Response:
    """Show the own profile in force."""
    query(request)
    profile = request.app[CONTEXT].directory.own_profile
    if profile is None:
        raise Misuse(HTTPStatus.NOT_FOUND, "not_found", "no profile was published yet")
    return respond(_view(profile))


async def publish(request: web.Request) -> web.Response:
    """Sign the profile whose members are the body, and put it in force (or, dry, say what it would be)."""
    dry_run = flag(query(request, "dry_run").get("dry_run"), what="dry_run")
    content = parse_object(await read_json_bytes(request))
    publisher = request.app[CONTEXT].publisher()
    try:
        await _check_zone(content.get("time_zone"))
        if dry_run:
            profile = await publisher.sign(content)
            return respond({"dry_run": True, "sequence": profile.sequence, "profile": profile.payload})
        profile = await publisher.publish(content, request[BEARER].id)
    except ProfileFault as fault:
        raise Misuse(
            HTTPStatus.UNPROCESSABLE_ENTITY, "schema", "not a profile in form", flaws=fault.flaws
        ) from None
    except Malformed as fault:
        raise Misuse(HTTPStatus.UNPROCESSABLE_ENTITY, "schema", str(fault)) from None
    return respond(_view(profile), status=HTTPStatus.CREATED, headers={"Location": "/v1/profile"})


async def _check_zone(name: object) -> None:
    """Refuse the name of a time zone that does not exist; one of another form is for the schema.

    A machine without the time zone database knows none, and judges none.
    """
    known = await asyncio.to_thread(_zones)
    if isinstance(name, str) and known and name not in known:
        raise ProfileFault((Flaw("/time_zone", "the name of a time zone of the IANA database"),))


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _view(profile: Profile) -> Mapping[str, object]:
    return {"sequence": profile.sequence, "jws": profile.jws, **profile_view(profile)}
