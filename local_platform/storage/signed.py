"""What signed URLs reach: PUT of a registered upload, GET of a file below the platform's home. No key is asked for.

Known limit: `fireworks.lib.dataset_upload.upload_dataset_shards` refuses URLs that are not https, and this server
speaks http unless a proxy with TLS stands before it. Plain PUTs to the same URLs work, and so does `datasets.upload`.
"""

import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Request
from fastapi.responses import FileResponse

from local_platform.context import Platform, PlatformDep
from local_platform.storage.receiving import receive_body
from pilotlight.errors import InvalidArgument, NotFound

router = APIRouter(tags=["signed URLs"])
_UPLOAD_ID = re.compile(r"[0-9a-f]{32}\Z")


def check_filenames(sizes: dict[str, int]) -> dict[str, int]:
    """File names are plain names, sizes positive. Raises InvalidArgument."""
    if not 1 <= len(sizes) <= 1000:
        raise InvalidArgument("filenameToSize must name 1 to 1000 files.")
    for name, size in sizes.items():
        if name.startswith(".") or len(name.encode()) > 200 or not name.isprintable() or set(name) & set("/\\"):
            raise InvalidArgument(f"Invalid file name {name[:80]!r}.", hint="Use a plain name such as data.jsonl.")
        if size < 1:
            raise InvalidArgument(f"The size of {name!r} is {size}.", hint="Give its size in bytes; empty files fail.")
    return sizes


def sign_uploads(platform: Platform, request: Request, upload: str, sizes: dict[str, int]) -> dict[str, str]:
    """Signed PUT URLs on this server, one per file."""
    base = str(request.base_url)
    return {
        name: platform.signer.sign(base, "PUT", f"/signed/uploads/{upload}/{name}", {"size": str(size)})
        for name, size in sizes.items()
    }


def sign_download(platform: Platform, request: Request, path: Path, filename: str) -> str:
    """A signed GET URL on this server for a file below the platform's home, saved as `filename`."""
    relative = path.resolve().relative_to(platform.home.resolve())
    return platform.signer.sign(str(request.base_url), "GET", f"/signed/files/{relative}", {"filename": filename})


@router.put("/signed/uploads/{upload}/{filename}")
async def put_file(
    request: Request,
    platform: PlatformDep,
    upload: str,
    filename: str,
    x_goog_content_length_range: Annotated[str, Header()] = "",
) -> dict[str, Any]:
    """Receive one registered file; sending it again replaces it."""
    platform.signer.check("PUT", f"/signed/uploads/{upload}/{filename}", request.query_params)
    size = int(request.query_params["size"])
    if x_goog_content_length_range.replace(" ", "") != f"{size},{size}":
        raise InvalidArgument(f"The header X-Goog-Content-Length-Range must be {size},{size}.")
    folder = platform.home / "uploads" / upload
    if not _UPLOAD_ID.match(upload) or not folder.is_dir():
        raise NotFound("This upload is over or was replaced.", hint="Ask for new URLs with :getUploadEndpoint.")
    wrong = InvalidArgument(f"{filename} is not {size} bytes long, as registered.", hint="Register its real size.")
    received = await receive_body(request, folder / filename, size, wrong)
    if received.size != size:
        received.path.unlink()
        raise wrong
    return {}


@router.get("/signed/files/{relative:path}")
def get_file(request: Request, platform: PlatformDep, relative: str) -> FileResponse:
    """Send a file."""
    platform.signer.check("GET", f"/signed/files/{relative}", request.query_params)
    path = platform.home / relative
    if not path.is_file():
        raise NotFound("The file is gone.", hint="The resource was deleted.")
    name = quote(request.query_params.get("filename", path.name))
    headers = {"content-disposition": f"attachment; filename*=UTF-8''{name}"}
    return FileResponse(path, media_type="application/octet-stream", headers=headers)
