/** One hop: an HTTP/1.1 caller, two sidecars with HTTP/2 over mutual TLS between them, an HTTP/1.1 server. */
import type { Clock } from "../../src/core/clock.ts";
import { UserError } from "../../src/core/errors.ts";
import { wrk } from "../load.ts";
import { OUTBOUND_PORT, type Peer } from "../peer.ts";
import { start } from "../processes.ts";

export interface HopRun {
  readonly requestsASecond: number;
  /** CPU microseconds a request, by the kernel's accounting. */
  readonly outboundCpu: number;
  readonly inboundCpu: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  /** MiB after the load, outbound and inbound. */
  readonly outboundRss: number;
  readonly inboundRss: number;
}

export interface HopOptions {
  readonly seconds: number;
  readonly connections: number;
  /** Where the load runs. */
  readonly loadCore: string | undefined;
  readonly clock: Clock;
}

const WARM_UP = 2;

export async function runHop(peer: Peer, options: HopOptions): Promise<HopRun> {
  const { clock } = options;
  const inbound = await start(peer.inbound, clock);
  try {
    const outbound = await start(peer.outbound, clock);
    try {
      const load = {
        port: OUTBOUND_PORT,
        host: peer.host,
        connections: options.connections,
        core: options.loadCore,
      };
      await wrk({ ...load, seconds: WARM_UP });
      const before = { outbound: outbound.cpu(), inbound: inbound.cpu() };
      const result = await wrk({ ...load, seconds: options.seconds });
      const after = { outbound: outbound.cpu(), inbound: inbound.cpu() };
      if (result.errors > 0 || result.requests === 0)
        throw new UserError(
          `${peer.name}: ${result.errors} of ${result.requests} requests failed; a figure from that would mean nothing`,
        );
      return {
        requestsASecond: result.requests / options.seconds,
        outboundCpu:
          ((after.outbound - before.outbound) * 1e6) / result.requests,
        inboundCpu: ((after.inbound - before.inbound) * 1e6) / result.requests,
        p50: result.p50,
        p99: result.p99,
        outboundRss: outbound.rss(),
        inboundRss: inbound.rss(),
      };
    } finally {
      await outbound.stop();
    }
  } finally {
    await inbound.stop();
  }
}
