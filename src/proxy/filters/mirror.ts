/**
 * Copies of requests to another Service (RequestMirror): made on the side, bounded, and never felt by the request itself.
 *
 * A copy is an exchange like any other, over the link with the same checks of identity, limits and time-outs, but nothing waits
 * for its response, no retry, and the first thing to go when there is much to do.
 */
import type { Clock } from "../../core/clock.ts";
import { MeshError } from "../../mesh/errors.ts";
import { shadowAuthority } from "../../policy/routing/mirror.ts";
import { compileRetry, retryBudget } from "../../policy/retry.ts";
import type { Mirror } from "../../policy/snapshot.ts";
import { TRAFFIC_DEFAULTS } from "../../resources/traffic-policy/settings.ts";
import type { RequestHead, ServerStream } from "../../wire/exchange.ts";
import { makeField } from "../../wire/fields.ts";
import {
  RequestRecord,
  type TelemetrySinks,
} from "../exchange/request-record.ts";
import {
  OutboundPlan,
  type OutboundPlanOptions,
} from "../upstream/outbound-plan.ts";
import type { RelayHost } from "../exchange/relay-host.ts";
import { Relay } from "../exchange/relay.ts";
import { asMeshError } from "../exchange/rescue.ts";
import { REPLAY_LIMIT } from "../exchange/replay.ts";
import { Shadow, Tee, type Copies, type WholeBody } from "./shadow.ts";
import type { Clusters } from "../upstream/cluster/clusters.ts";

/** Names the service that was called, to the application that gets the copy. */
const MIRRORED_FROM = "x-mirrored-from";

/** Copies in flight or waiting for a connection at most, and the bytes of bodies that are kept for copies, in the process. */
export const MOST_COPIES = 256;
export const MOST_BYTES: number = 8 * 1024 * 1024;
/** Milliseconds for a copy whose route has no time-out: nobody would miss its response. */
export const COPY_TIMEOUT = 15_000;

/** How the request itself goes; a copy goes the same way, to another place. */
export type Forwarded = Pick<
  OutboundPlanOptions,
  | "destination"
  | "route"
  | "path"
  | "target"
  | "authority"
  | "timeouts"
  | "streamIdle"
  | "repeatable"
  | "requestEdits"
>;

export interface Mirrors {
  /** Draws among `mirrors`; undefined where nothing is to be copied. */
  tee(
    stream: ServerStream,
    mirrors: readonly Mirror[],
    forwarded: Forwarded,
  ): Tee | undefined;
}

export interface MirrorsOptions {
  readonly clock: Clock;
  readonly host: RelayHost;
  readonly sinks: TelemetrySinks;
  readonly clusters: Clusters;
  /** Hears of a copy that leaves the mesh: by which external Service, and the Host and port of its request. */
  readonly onOutside: (
    service: string,
    authority: string,
    port: number,
  ) => void;
}

/** No retry: a copy that is lost is lost. */
const RETRY = compileRetry(undefined, { attempts: 0, on: [] });

export function makeMirrors(options: MirrorsOptions): Mirrors {
  return new BoundedMirrors(options);
}

class BoundedMirrors implements Mirrors {
  readonly #options: MirrorsOptions;
  readonly #budget = retryBudget(TRAFFIC_DEFAULTS.retryConstraint);
  /** In flight, or waiting for a connection. */
  #copies = 0;
  /** Bytes of bodies that are kept for copies. */
  #bytes = 0;

  constructor(options: MirrorsOptions) {
    this.#options = options;
  }

  tee(
    stream: ServerStream,
    mirrors: readonly Mirror[],
    forwarded: Forwarded,
  ): Tee | undefined {
    const { clock } = this.#options;
    // A stream that becomes a dialogue has no end, and nobody would take the shadow's part in it.
    if (stream.head.protocol !== undefined) return undefined;
    const drawn = mirrors.filter(({ share }) => clock.random() < share);
    if (drawn.length === 0) return undefined;
    if (!this.#hasRoom(drawn.length)) {
      for (const mirror of drawn) this.#dropped(mirror, "busy");
      return undefined;
    }
    return new Tee(stream.ended, this.#copiesOf(stream, drawn, forwarded));
  }

  /** The request itself has the right of way. */
  #hasRoom(count: number): boolean {
    const { host } = this.#options;
    return (
      this.#copies + count <= MOST_COPIES &&
      host.idle.active * 2 < host.maxActive &&
      host.buffers.roomy
    );
  }

  #copiesOf(
    stream: ServerStream,
    drawn: readonly Mirror[],
    forwarded: Forwarded,
  ): Copies {
    const { buffers } = this.#options.host;
    let kept = 0;
    let pending = drawn.length;
    const change = (bytes: number): void => {
      kept += bytes;
      this.#bytes += bytes;
      buffers.change(bytes);
    };
    const over = (): void => {
      pending -= 1;
      if (pending === 0) change(-kept);
    };
    return {
      keep: (chunk) => {
        if (
          kept + chunk.length > REPLAY_LIMIT ||
          this.#bytes + chunk.length > MOST_BYTES ||
          !buffers.roomy
        )
          return false;
        change(chunk.length);
        return true;
      },
      drop: (reason) => {
        change(-kept);
        for (const mirror of drawn) this.#dropped(mirror, reason);
      },
      send: (body) => {
        for (const mirror of drawn)
          try {
            this.#send(stream, mirror, forwarded, body, over);
          } catch (defect) {
            // A defect here must not fail the request itself.
            this.#dropped(mirror, asMeshError(defect).code);
          }
      },
    };
  }

  #send(
    stream: ServerStream,
    { cluster }: Mirror,
    forwarded: Forwarded,
    body: WholeBody,
    onOver: () => void,
  ): void {
    const { clock, host, sinks, clusters, onOutside } = this.#options;
    this.#copies += 1;
    const limit = forwarded.timeouts.request || COPY_TIMEOUT;
    const shadow = new Shadow(
      shadowHead(stream, forwarded),
      stream.connection,
      body,
      () => {
        this.#copies -= 1;
        cancel();
        onOver();
      },
    );
    const cancel = clock.after(limit, () => shadow.stop(unanswered(limit)));
    const { destination } = cluster;
    const record = new RequestRecord(sinks, "mirror", shadow, destination);
    record.path = forwarded.path;
    record.route = forwarded.route;
    const plan = new OutboundPlan({
      ...forwarded,
      clock,
      destination,
      authority: shadowAuthority(forwarded.authority),
      state: clusters.of(cluster),
      budget: this.#budget,
      // Its own timer is above, for gRPC too.
      timeouts: { request: 0, backendRequest: 0 },
      retry: RETRY,
      responseEdits: undefined,
      tunnel: false,
    });
    if (plan.external !== undefined)
      onOutside(plan.external, forwarded.authority, cluster.port);
    new Relay(host, shadow, plan, record).start();
  }

  #dropped({ cluster }: Mirror, reason: string): void {
    const { mirrorsDropped } = this.#options.sinks.meters;
    mirrorsDropped.with(cluster.destination, reason).add();
  }
}

function shadowHead(
  { head }: ServerStream,
  { destination }: Forwarded,
): RequestHead {
  const from = makeField(MIRRORED_FROM, destination);
  return { ...head, fields: [...head.fields, from] };
}

function unanswered(limit: number): MeshError {
  return new MeshError(
    "REQUEST_TIMEOUT",
    `the copy got no response within ${limit} ms`,
    { source: "proxy" },
  );
}
