"""The files: announced, put, processed, listed."""

from __future__ import annotations

import email.parser
import email.policy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ftsdk.testing.together.answers import Answer, Clock, Refusal, Request, answer_json
from ftsdk.testing.together.formats import Report, check_file
from ftsdk.testing.together.scenarios import Scenario

__all__ = ["FileStore", "StoredFile"]

_PURPOSES = ("fine-tune", "calibration", "eval", "batch-api")
_TYPES = ("jsonl", "parquet", "csv")
_PROCESSED = ("fine-tune", "calibration")
"""Files of the other purposes are never checked, and have no status."""


@dataclass(kw_only=True)
class StoredFile:
    """A file, from its announcement on."""

    id: str
    filename: str
    purpose: str
    file_type: str
    checksum: str
    """SHA-256, as it was announced."""
    created_at: int
    scenario: Scenario
    content: bytes | None = None
    """None until it was put."""
    status: str = ""
    report: Report = field(default_factory=Report)
    polls: int = 0

    def to_wire(self, *, with_report: bool = False) -> dict[str, Any]:
        """Return it as the service shows it."""
        shown: dict[str, Any] = {
            "id": self.id,
            "object": "file",
            "created_at": self.created_at,
            "filename": self.filename,
            "bytes": len(self.content or b""),
            "purpose": self.purpose,
            "FileType": self.file_type,
        }
        if self.status:
            shown["processing_status"] = self.status
        if with_report and self.status in ("COMPLETED", "INVALID_FORMAT"):
            shown["validation_report"] = self._report()
        return shown

    def _report(self) -> dict[str, Any]:
        if self.status == "INVALID_FORMAT":
            return {"valid": False, "error_type": "INVALID_FORMAT", "error": self.report.error, "file_id": self.id}
        return {
            "valid": True,
            "dataset_format": self.report.dataset_format,
            "nlines": self.report.nlines,
            "file_id": self.id,
        }

    def look(self) -> None:
        """Move its processing on by one look."""
        if self.status not in ("PENDING", "QUEUED", "RUNNING"):
            return
        self.polls += 1
        if self.polls < self.scenario.file_polls:
            self.status = "QUEUED" if self.polls == 1 else "RUNNING"
        elif self.scenario.file_status:
            self.status = self.scenario.file_status
            self.report = Report(error=self.scenario.file_error)
        else:
            self.report = check_file(self.content or b"", self.filename)
            self.status = "INVALID_FORMAT" if self.report.error else "COMPLETED"


class FileStore:
    """All files.

    A file advances with each poll, PENDING, QUEUED, RUNNING, COMPLETED, whether `preprocess` was called or not: the
    TypeScript client never calls it, so a file whose uploader died after the PUT isn't lost. That is a guess about the
    real service.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_id: dict[str, StoredFile] = {}
        self._count = 0

    def __iter__(self) -> Iterator[StoredFile]:
        return iter(tuple(self._by_id.values()))

    def __getitem__(self, file_id: str) -> StoredFile:
        if file_id not in self._by_id:
            raise Refusal(404, f"no file {file_id!r}")
        return self._by_id[file_id]

    def announce(self, request: Request, scenario: Scenario, base_url: str) -> Answer:
        """`POST /v1/files`: say where to put the file, or that it is there already."""
        fields = _form(request)
        for name in ("purpose", "file_name", "file_type", "checksum"):
            if not fields.get(name):
                raise Refusal(422, f"{name} is required", param=name)
        if fields["purpose"] not in _PURPOSES:
            raise Refusal(422, f"purpose must be one of {', '.join(_PURPOSES)}", param="purpose")
        name, kind = fields["file_name"], fields["file_type"]
        if kind not in _TYPES or not name.endswith(f".{kind}"):
            raise Refusal(
                422, f"file_type must be one of {', '.join(_TYPES)}, and the end of the file's name", param="file_type"
            )
        if (kind == "csv") != (fields["purpose"] == "eval") and kind != "jsonl":
            raise Refusal(422, f"a file of purpose {fields['purpose']} can't be {kind}", param="file_type")
        checksum = fields["checksum"].lower()
        if len(checksum) != 64 or set(checksum) - set("0123456789abcdef"):
            raise Refusal(422, "checksum must be a SHA-256 in hex", param="checksum")
        for file in self:
            # One that was announced and never came is no duplicate.
            if file.content is not None and (file.checksum, file.purpose) == (checksum, fields["purpose"]):
                raise Refusal(409, "the file exists already", file_id=file.id)
        self._count += 1
        file = StoredFile(
            id=f"file-{self._count:08x}",
            filename=name,
            purpose=fields["purpose"],
            file_type=kind,
            checksum=checksum,
            created_at=int(self._clock.now),
            scenario=scenario,
        )
        self._by_id[file.id] = file
        return Answer(
            status=302, headers={"Location": f"{base_url}/presigned/{file.id}", "X-Together-File-Id": file.id}
        )

    def put(self, request: Request, file_id: str) -> Answer:
        """`PUT` to where `announce` said: the bytes.

        Signed by its address, so that an additional key is refused, as object stores do.
        """
        if "authorization" in request.headers:
            raise Refusal(400, "only one way to authorize is allowed, and the address is signed")
        file = self[file_id]
        if hashlib.sha256(request.body).hexdigest() != file.checksum:
            raise Refusal(400, "the bytes don't match the checksum")
        if file.content is None:
            file.content = request.body
            file.status = "PENDING" if file.purpose in _PROCESSED else ""
        return Answer()

    def preprocess(self, file_id: str) -> Answer:
        """`POST /v1/files/{id}/preprocess`: start the check."""
        file = self[file_id]
        if file.content is None:
            raise Refusal(400, f"file {file_id} was announced, and never put")
        if file.status == "PENDING":
            file.status = "QUEUED"
        return answer_json(file.to_wire())

    def retrieve(self, file_id: str) -> Answer:
        """`GET /v1/files/{id}`."""
        file = self[file_id]
        file.look()
        return answer_json(file.to_wire(with_report=True))

    def listing(self) -> Answer:
        """`GET /v1/files`."""
        return answer_json({"data": [file.to_wire() for file in self if file.content is not None]})

    def content(self, file_id: str) -> Answer:
        """`GET /v1/files/{id}/content`."""
        return Answer(body=self[file_id].content or b"", content_type="application/octet-stream")

    def delete(self, file_id: str) -> Answer:
        """`DELETE /v1/files/{id}`."""
        del self._by_id[self[file_id].id]
        return answer_json({"id": file_id, "deleted": True})


def _form(request: Request) -> dict[str, str]:
    """Read the fields of a multipart form."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise Refusal(422, "the body isn't a multipart form")
    head = f"Content-Type: {kind}\r\nMIME-Version: 1.0\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + request.body)
    fields: dict[str, str] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            fields[name] = content.decode()
    return fields
