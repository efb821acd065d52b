"""UploadEvaluatorSource: the sandbox has no network, so the gateway sends the archive to the signed URL for it."""

import base64
import binascii

from gateway.client import Answer
from gateway.upstream import Upstream, path_of
from manifest.facts import Call
from pilotlight.errors import Internal, InvalidArgument
from pilotlight.sources import ARCHIVE

UPLOAD = "UploadEvaluatorSource"


async def upload(platform: Upstream, call: Call) -> Answer:
    """Register, send, validate; the answer of whichever the platform refused, else of the last.

    Raises InvalidArgument for what is not base64, NotSent, Unavailable (the outcome is unknown then).
    """
    archive, resource = _decode(call), path_of(call).partition(":")[0]
    body = {"filenameToSize": {ARCHIVE: str(len(archive))}}
    registered = await platform.post(f"{resource}:getUploadEndpoint", body)
    if registered.status_code != 200:
        return registered
    url = registered.json().get("filenameToSignedUrls", {}).get(ARCHIVE)
    if not isinstance(url, str):
        raise Internal(f"The platform named no URL for the source of {call.resource}.")
    sent = await platform.put_signed(url, archive)
    return sent if sent.status_code != 200 else await platform.post(f"{resource}:validateUpload")


def _decode(call: Call) -> bytes:
    found = call.body.get("archive") if isinstance(call.body, dict) else None
    try:
        if isinstance(found, str) and (archive := base64.b64decode(found, validate=True)):
            return archive
    except binascii.Error:
        pass
    raise InvalidArgument(f"{UPLOAD}: the field archive is a .tar.gz in base64.")
