"""The moto server behind the proxy: judge of requests, catalogue, EventBridge and SQS."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
from aiohttp import web

from treasury.domain.time import SECOND

_RULE = "treasury-notices"
_WARNING = "EC2 Spot Instance Interruption Warning"


class Moto:
    """queues: region -> URL of the queue that hears of interruptions."""

    def __init__(self) -> None:
        self.queues: dict[str, str] = {}
        self.url = ""
        self._server: Any = None
        self._http: aiohttp.ClientSession | None = None

    async def start(self, regions: Iterable[str]) -> None:
        """Start it on a free port, with a rule and a queue a region as our documents tell."""
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        await asyncio.to_thread(self._server.start)
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}/"
        self._http = aiohttp.ClientSession()
        await asyncio.to_thread(self._make_queues, regions)

    async def close(self) -> None:
        """Stop it."""
        if self._http is not None:
            await self._http.close()
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)

    async def forward(self, request: web.Request, body: bytes) -> web.Response:
        """Moto's answer to a request."""
        assert self._http is not None
        headers = {
            key: value
            for key, value in request.headers.items()
            if key.lower() not in {"host", "content-length", "transfer-encoding", "expect"}
        }
        url = self.url + request.path_qs.lstrip("/")
        async with self._http.request(request.method, url, data=body, headers=headers) as answer:
            kept = {k: v for k, v in answer.headers.items() if k.lower() == "content-type"}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    async def put_event(
        self, region: str, detail: Mapping[str, str], at: int, times: int = 1
    ) -> None:
        """EventBridge hears of an interruption at an instant [ns], so often."""
        entry = {
            "Source": "aws.ec2",
            "DetailType": _WARNING,
            "Detail": json.dumps(detail),
            "Time": at / SECOND,
        }

        def put() -> None:
            events = self._client("events", region)
            for _ in range(times):
                events.put_events(Entries=[entry])
            events.close()

        await asyncio.to_thread(put)

    def _client(self, service: str, region: str) -> Any:
        """An SDK client that talks to moto past the proxy."""
        import boto3

        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id="x",
            aws_secret_access_key="x",
        )

    def _make_queues(self, regions: Iterable[str]) -> None:
        for region in regions:
            sqs, events = self._client("sqs", region), self._client("events", region)
            url = sqs.create_queue(QueueName=_RULE)["QueueUrl"]
            found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
            pattern = {"source": ["aws.ec2"], "detail-type": [_WARNING]}
            events.put_rule(Name=_RULE, EventPattern=json.dumps(pattern))
            arn = found["Attributes"]["QueueArn"]
            events.put_targets(Rule=_RULE, Targets=[{"Id": "queue", "Arn": arn}])
            self.queues[region] = url
            sqs.close()
            events.close()
