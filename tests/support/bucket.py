"""The object storage that contexts are uploaded to, as a client other than ours sees it."""

from __future__ import annotations

import hashlib
from typing import Any

import botocore.session
from botocore.config import Config
from daytona_api_client import ApiClient, Configuration, ObjectStorageApi


class Bucket:
    """`access` is the API's `StorageAccessDto`."""

    def __init__(self, access: Any) -> None:
        self.access = access
        session = botocore.session.get_session()  # type: ignore[no-untyped-call]
        self.client = session.create_client(
            "s3",
            region_name=access.region,
            endpoint_url=access.storage_url,
            aws_access_key_id=access.access_key,
            aws_secret_access_key=access.secret,
            aws_session_token=access.session_token,
            config=Config(  # type: ignore[no-untyped-call]
                retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}
            ),
        )

    @classmethod
    def connect(cls, *, url: str, key: str) -> Bucket:
        """The one of the API at `url`."""
        client = ApiClient(Configuration(host=url, access_token=key))
        return cls(ObjectStorageApi(client).get_push_access())

    def key(self, digest: str) -> str:
        return f"{self.access.organization_id}/{digest}/context.tar"

    def address(self, digest: str) -> dict[str, str]:
        return {"Bucket": self.access.bucket, "Key": self.key(digest)}

    def read(self, digest: str) -> bytes:
        return bytes(self.client.get_object(**self.address(digest))["Body"].read())

    def upload(self, content: bytes) -> str:
        """The digest of what was uploaded, in parts as the SDK does it."""
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        address = self.address(digest)
        upload = self.client.create_multipart_upload(**address)["UploadId"]
        parts = []
        for number, start in enumerate(range(0, max(len(content), 1), 5 << 20), 1):
            piece = content[start : start + (5 << 20)]
            response = self.client.upload_part(
                **address, UploadId=upload, PartNumber=number, Body=piece
            )
            parts.append({"PartNumber": number, "ETag": response["ETag"]})
        self.client.complete_multipart_upload(
            **address, UploadId=upload, MultipartUpload={"Parts": parts}
        )
        return digest
