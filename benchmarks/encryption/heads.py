"""How many objects a second are asked, and what that costs, beside boto3 in the same run.

A server process answers every HEAD at once, or after 20 ms as S3 does. The lean client and
boto3, both with 64 threads, ask it in turns; printed are the medians of answers a second,
CPU microseconds of this process for one answer, and the ratios (target: at least twice as
many answers for each CPU second).
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

OBJECTS = 4000
TURNS = 3
ANSWER = (
    b"HTTP/1.1 200 OK\r\nx-amz-id-2: eXaMpLe0123456789abcdefghijklmnopqrstuvwxyz=\r\n"
    b"x-amz-request-id: 0123456789ABCDEF\r\nDate: Mon, 23 Nov 2026 09:00:00 GMT\r\n"
    b"Last-Modified: Mon, 23 Nov 2026 08:00:00 GMT\r\n"
    b'ETag: "d41d8cd98f00b204e9800998ecf8427e"\r\nx-amz-server-side-encryption: aws:kms\r\n'
    b"x-amz-server-side-encryption-aws-kms-key-id: "
    b"arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555\r\n"
    b"x-amz-server-side-encryption-bucket-key-enabled: true\r\nx-amz-version-id: abcDEF\r\n"
    b"Accept-Ranges: bytes\r\nContent-Type: binary/octet-stream\r\nContent-Length: 10\r\n"
    b"Server: AmazonS3\r\n\r\n"
)


class Server(asyncio.Protocol):
    """Answers each request with the same headers after a while."""

    delay = 0.0

    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            self.buffer = self.buffer.partition(b"\r\n\r\n")[2]
            if self.delay:
                asyncio.get_running_loop().call_later(self.delay, self.answer)
            else:
                self.answer()

    def answer(self):
        if not self.transport.is_closing():
            self.transport.write(ANSWER)


async def serve(delay):
    """Serve on a free port, which is printed."""
    Server.delay = delay
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def measured(work):
    """Return answers a second, and CPU microseconds for one."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return OBJECTS / wall, cpu / OBJECTS * 1e6


def compare(milliseconds):
    """Print one line for a latency."""
    import boto3
    from botocore.config import Config

    from sluicegate.stages.encryption.aws import Aws
    from sluicegate.stages.encryption.s3.head import Head
    from sluicegate.stages.encryption.s3.heads import Bucket, Heads
    from sluicegate.stages.encryption.s3.parallel import Limits, gather

    command = [sys.executable, __file__, "serve", str(milliseconds / 1000)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        os.environ["AWS_ENDPOINT_URL_S3"] = f"http://127.0.0.1:{int(server.stdout.readline())}"
        client = boto3.client("s3", config=Config(max_pool_connections=64))
        heads = Heads(Aws(), Bucket(name="bucket"))

        def by_boto3():
            with ThreadPoolExecutor(64) as threads:
                keys = (f"data/part-{at:06}.parquet" for at in range(OBJECTS))
                list(threads.map(lambda key: client.head_object(Bucket="bucket", Key=key), keys))

        def lean():
            answers, _ = gather(
                lambda at: heads.ask(f"data/part-{at:06}.parquet"),
                OBJECTS,
                dead=lambda answer: not isinstance(answer, Head),
                limits=Limits(threads=64),
            )
            assert all(isinstance(answer, Head) for answer in answers)

        turns = [(measured(by_boto3), measured(lean)) for _ in range(TURNS)]
    finally:
        server.terminate()
        server.wait()
    rates = [[turn[who][0] for turn in turns] for who in (0, 1)]
    costs = [[turn[who][1] for turn in turns] for who in (0, 1)]
    (old, new), (dear, cheap) = (
        [statistics.median(one) for one in pair] for pair in (rates, costs)
    )
    print(
        f"{milliseconds:2} ms latency: boto3 {old:5.0f}/s {dear:5.0f} us CPU each; "
        f"lean {new:5.0f}/s {cheap:5.0f} us CPU each; {new / old:.2f} times the rate, "
        f"{dear / cheap:.2f} times the answers for each CPU second"
    )


def main():
    """Compare without latency and with that of S3."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }.items():
        os.environ[name] = value
    for milliseconds in (0, 20):
        compare(milliseconds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(float(sys.argv[2])))
    else:
        main()
