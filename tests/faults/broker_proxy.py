"""A proxy in front of a Kafka broker: what can go wrong with bytes that it does not read."""

from __future__ import annotations

import asyncio
import random

from injected import NO_FAULT, Fault, FaultProxy, Refused, Reset, Slow, reset

from faust_s3.local.proxy import CHUNK


class BrokerProxy(FaultProxy):
    """Forwards TCP; `Slow`, `Refused`, `BlackHole` and `Reset` are its faults.

    Clients go where the broker tells them: it has to advertise the proxy's address.
    """

    _random = random.Random(4)

    async def _switch(self, fault: Fault) -> None:
        if isinstance(fault, Refused | Reset):
            self.injected += len(self._tasks)
        await super()._switch(fault)
        if isinstance(fault, Reset):
            for writer in self._tasks.values():
                reset(writer)

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what comes from either side, as the fault of the moment has it."""
        far_reader, far_writer = await self.connect()
        ways = {
            asyncio.ensure_future(self._pass_on(reader, far_writer)),
            asyncio.ensure_future(self._pass_on(far_reader, writer)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            far_writer.close()
            if isinstance(self.fault, Reset):
                reset(writer)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            self.injected += self.fault is not NO_FAULT
            await self.not_in_a_hole()
            fault = self.fault
            if isinstance(fault, Slow):
                await asyncio.sleep(fault.latency + self._random.uniform(0, fault.jitter))
            elif isinstance(fault, Reset):
                raise ConnectionResetError("as told")
            writer.write(data)
            await writer.drain()
