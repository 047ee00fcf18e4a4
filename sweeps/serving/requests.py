"""The texts of a request: headers, size and form are checked before anything is predicted.

MLflow's own scoring app answers 200 to a number, null or an empty list, and reads a body of any
size. What passes here is a list of texts of bounded size.
"""

from __future__ import annotations

import asyncio
import codecs
import json
from collections.abc import Mapping
from email.message import Message as Header
from typing import TYPE_CHECKING, Any, NamedTuple

from sentiment.data.token_rules import encodable
from sentiment.wording import counted, duration

if TYPE_CHECKING:
    from starlette.types import Receive

MAX_BYTES = 2**20
"""Of a request's body: some 800 reviews."""
MAX_TEXTS = 1_000
"""Of one request."""
MAX_EXPLAINED_TEXTS = 32
"""Of one request that asks for explanations, each of which costs as much as many predictions."""
MAX_EXPLAINED_CHARACTERS = 2**15
"""Of all texts of such a request: twice the longest review of IMDb."""
EXAMPLE = {"dataframe_records": [{"text": "This film is great"}]}
"""A request that works, here and with MLflow's own server."""

_FORMS = ("dataframe_records", "dataframe_split", "inputs", "instances")
_BODY_SECONDS = 30.0
# Read and thrown away before a refusal: a client that still sends would not see the answer.
_DISCARDED_BYTES = 64 * 2**20


class RequestError(ValueError):
    """A request that can't be answered.

    Attributes:
        status: the HTTP status of the answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class InferenceRequest(NamedTuple):
    """What a client asks for.

    Attributes:
        texts: to classify, at least one.
        explain: whether to give the weights of their words too.
    """

    texts: list[str]
    explain: bool = False


async def read_request(headers: Mapping[str, str], receive: Receive) -> InferenceRequest | None:
    """Read a request; None if the client is gone.

    Args:
        headers: by lower-case name.
        receive: the rest of the request, by ASGI's messages.

    Raises:
        RequestError: the body comes too slowly, or as `check_headers` and `parse_request` raise it.
    """
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            try:
                check_headers(headers)
            except RequestError:
                # A client that asks first has not begun to send; any other would not see the
                # answer.
                if "expect" not in headers:
                    await _read(receive, 0)
                raise
            body, size = await _read(receive, MAX_BYTES)
    except TimeoutError:
        late = f"the request's body did not come within {duration(_BODY_SECONDS)}"
        raise RequestError(408, late) from None
    if size > MAX_BYTES:
        raise _too_long()
    return None if body is None else parse_request(body)


def check_headers(headers: Mapping[str, str]) -> None:
    """Check what a request says of its body, by lower-case name of the header.

    Raises:
        RequestError: it is too long, or something other than JSON.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip()
    if kind.lower() != "application/json":
        shown = f"not {kind}" if kind else "with the header content-type"
        raise RequestError(415, f"send application/json, {shown}")
    charset = _charset(headers["content-type"])
    if charset is not None and not _is_utf8(charset):
        raise RequestError(415, f"send JSON in UTF-8, not charset={charset:.40}")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError(415, "send the body as it is, without a content-encoding")
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length) > MAX_BYTES:
        raise _too_long()


def parse_request(body: bytes) -> InferenceRequest:
    """Return what the body of a request asks for.

    The forms are those of MLflow's scoring server. A lone surrogate becomes U+FFFD, as it does
    wherever this project reads a text.

    Raises:
        RequestError: it is no JSON, has none of the forms, no column `text`, no text, too many,
            something else among them, or unknown parameters.
    """
    encoding = json.detect_encoding(body)
    if encoding.startswith(("utf-16", "utf-32")):
        raise RequestError(415, f"send JSON in UTF-8, not {encoding[:6].upper()}")
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(400, f"the body is not JSON; send {json.dumps(EXAMPLE)}") from None
    explain = _explain(request.pop("params", None)) if isinstance(request, dict) else False
    if not isinstance(request, dict) or len(request) != 1 or next(iter(request)) not in _FORMS:
        raise RequestError(
            400, f"send an object with one of {', '.join(_FORMS)}, such as {json.dumps(EXAMPLE)}"
        )
    ((form, value),) = request.items()
    texts = _from_split(value) if form == "dataframe_split" else _from_rows(form, value)
    if not texts:
        raise RequestError(400, f"`{form}` holds no text")
    if len(texts) > MAX_TEXTS:
        raise RequestError(
            413, f"{counted(len(texts), 'text')} at once; send at most {MAX_TEXTS:,} in a request"
        )
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise RequestError(400, f"row {row}: `text` must be a string, not {_json_type(text)}")
    if explain:
        _check_explained(texts)
    return InferenceRequest([encodable(text) for text in texts], explain)


def _explain(params: Any) -> bool:
    """Return the value of the only parameter, `explain`."""
    if params is None:
        return False
    if not isinstance(params, dict) or not params.keys() <= {"explain"}:
        raise RequestError(400, '`params` takes one parameter, as in {"explain": true}')
    explain = params.get("explain", False)
    if not isinstance(explain, bool):
        raise RequestError(400, f"`explain` must be true or false, not {_json_type(explain)}")
    return explain


def _check_explained(texts: list[str]) -> None:
    if len(texts) > MAX_EXPLAINED_TEXTS:
        raise RequestError(
            413,
            f"{counted(len(texts), 'text')} to explain at once; send at most "
            f"{MAX_EXPLAINED_TEXTS} with `explain`",
        )
    characters = sum(map(len, texts))
    if characters > MAX_EXPLAINED_CHARACTERS:
        raise RequestError(
            413,
            f"{characters:,} characters to explain at once; send at most "
            f"{MAX_EXPLAINED_CHARACTERS:,} with `explain`",
        )


def _charset(content_type: str) -> str | None:
    """Return the charset that a content type names, if it names one."""
    header = Header()
    header["content-type"] = content_type
    charset = header.get_param("charset")
    return charset if isinstance(charset, str) or charset is None else charset[2]


def _is_utf8(charset: str) -> bool:
    """Whether a charset is UTF-8 under any of its names, or ASCII, which UTF-8 contains."""
    try:
        return codecs.lookup(charset.strip()).name in ("utf-8", "utf-8-sig", "ascii")
    except (LookupError, ValueError):
        return False


def _from_split(value: Any) -> list[Any]:
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise RequestError(400, "`dataframe_split` needs `columns` and `data`, a list of rows")
    columns = value.get("columns")
    if not isinstance(columns, list) or columns.count("text") != 1:
        raise RequestError(400, "`columns` of `dataframe_split` needs one column `text`")
    column = columns.index("text")
    for row, cells in enumerate(value["data"]):
        if not isinstance(cells, list) or len(cells) != len(columns):
            raise RequestError(400, f"row {row}: not a list of {len(columns)} cells")
    return [cells[column] for cells in value["data"]]


def _from_rows(form: str, value: Any) -> list[Any]:
    """Read a list of objects with a text each; in TensorFlow's forms also its equivalents."""
    if form == "inputs" and isinstance(value, dict):
        if not isinstance(value.get("text"), list):
            raise RequestError(400, "`inputs` needs a column `text`, a list of strings")
        return list(value["text"])
    if not isinstance(value, list):
        raise RequestError(400, f"`{form}` must be a list, not {_json_type(value)}")
    if form != "dataframe_records" and all(isinstance(row, str) for row in value):
        return value
    for row, record in enumerate(value):
        if not isinstance(record, dict):
            raise RequestError(400, f"row {row}: not an object with `text`: {_json_type(record)}")
        if "text" not in record:
            raise RequestError(400, f"row {row} has no column `text`")
    return [record["text"] for record in value]


def _json_type(value: Any) -> str:
    names = {bool: "a boolean", dict: "an object", list: "a list", str: "a string"}
    return "null" if value is None else names.get(type(value), "a number")


async def _read(receive: Receive, limit: int) -> tuple[bytes | None, int]:
    """Read a body and return it with its size; beyond the limit it is read, but not kept.

    Nothing is returned for a client that is gone.
    """
    body, size = bytearray(), 0
    while size < _DISCARDED_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None, 0
        part = message.get("body", b"")
        size += len(part)
        if size <= limit:
            body += part
        if not message.get("more_body", False):
            break
    return bytes(body), size


def _too_long() -> RequestError:
    return RequestError(413, f"the body is longer than {MAX_BYTES:,} bytes; send fewer texts")
