/** Which ports a sidecar listens on, as they are asked for and as they came out. */
import { UserError } from "../../core/errors.ts";
import { cannotListen } from "../../core/listening.ts";
import { parseAuthority, type LocalUpstream } from "../destination.ts";
import type { ListeningSocket } from "./handed-listeners.ts";
import type { Bound, Listeners } from "./listeners.ts";

/** 0 lets the system choose; undefined leaves the listener out. */
export interface SidecarPorts {
  readonly outbound?: number;
  /** Captured inbound connections. */
  readonly inbound?: number;
  readonly link?: number;
  readonly admin?: number;
  readonly metrics?: number;
}

/** Istio's, where it has one. */
export const DEFAULT_PORTS: Required<SidecarPorts> = {
  outbound: 15001,
  inbound: 15006,
  link: 15008,
  admin: 15000,
  metrics: 15020,
};

/** What listens where, as it came out. */
export interface BoundPorts {
  readonly outbound: number | undefined;
  readonly inbound: number | undefined;
  readonly link: number | undefined;
  readonly admin: number | undefined;
  readonly metrics: number | undefined;
  /** By the application's port. */
  readonly published: ReadonlyMap<number, number>;
  /** By "SERVICE.NS" or "SERVICE.NS:PORT", as it was asked for. */
  readonly upstreams: ReadonlyMap<string, number>;
}

/** A listener for callers without a sidecar, under PeerAuthentication. */
export interface PublishedPort {
  readonly port: number;
  readonly appPort: number;
}

/** A local port that leads to one service. */
export interface UpstreamPort {
  readonly port: number;
  /** "SERVICE.NS" or "SERVICE.NS:PORT" */
  readonly to: string;
}

export interface OpenOptions {
  readonly ports: SidecarPorts;
  readonly host: string;
  readonly publish: readonly PublishedPort[];
  readonly upstream: readonly UpstreamPort[];
}

/** The listeners, open. */
export interface Open {
  readonly ports: Omit<BoundPorts, "admin" | "metrics">;
  /** What was asked for, with the ports that the system chose. */
  readonly portMappings: {
    readonly publish: readonly PublishedPort[];
    readonly upstream: readonly UpstreamPort[];
  };
  /** Inbound connections that are accepted and not handed over yet. */
  readonly arriving: number;
  /** All that it listens on. */
  readonly sockets: readonly ListeningSocket[];
  /** Accepts no more. */
  stopInbound(): void;
  stopOutbound(): void;
  closeInbound(): void;
  closeOutbound(): void;
}

/** What a listener is called, the option that chooses its port, and whose address it has. */
type ListenerSpec = readonly [
  what: string,
  option: string,
  at: "loopback" | "host",
];
const OUTBOUND: ListenerSpec = ["outbound", "--outbound-port", "loopback"];
const CAPTURED: ListenerSpec = ["captured inbound", "--inbound-port", "host"];
const LINK: ListenerSpec = ["the link", "--link-port", "host"];
const PUBLISHED: ListenerSpec = ["a published port", "--publish", "host"];
const UPSTREAM: ListenerSpec = ["an upstream's port", "--upstream", "loopback"];

/** The listeners of one direction. */
class Opened {
  readonly #host: string;
  readonly #bounds: Bound[] = [];

  constructor(host: string) {
    this.#host = host;
  }

  /** Connections that are accepted and not handed over yet. */
  get arriving(): number {
    return this.#bounds.reduce((sum, bound) => sum + bound.arriving, 0);
  }

  get sockets(): readonly ListeningSocket[] {
    return this.#bounds.flatMap(({ sockets }) => sockets);
  }

  async open(
    [what, option, at]: ListenerSpec,
    port: number,
    open: (port: number) => Promise<Bound>,
  ): Promise<number> {
    try {
      const bound = await open(port);
      this.#bounds.push(bound);
      return bound.port;
    } catch (thrown) {
      if (thrown instanceof UserError) throw thrown;
      const address =
        at === "host"
          ? { host: this.#host, hostOption: "--host" }
          : { host: "127.0.0.1" };
      throw cannotListen({ what, ...address, port, option }, thrown);
    }
  }

  /** As `open`, where there is to be one. */
  async openWanted(
    spec: ListenerSpec,
    port: number | undefined,
    open: (port: number) => Promise<Bound>,
  ): Promise<number | undefined> {
    return port === undefined ? undefined : this.open(spec, port, open);
  }

  /** Accepts no more. */
  stop(): void {
    for (const bound of this.#bounds) bound.stop();
  }

  close(): void {
    for (const bound of this.#bounds) bound.close();
  }
}

/** Opens all that is asked for, or nothing. Throws UserError that says which option to change. */
export async function openAll(
  listeners: Listeners,
  options: OpenOptions,
): Promise<Open> {
  const { ports: wanted, host } = options;
  const inbound = new Opened(host);
  const outbound = new Opened(host);
  const published = new Map<number, number>();
  const upstreams = new Map<string, number>();
  try {
    const ports = {
      outbound: await outbound.openWanted(OUTBOUND, wanted.outbound, (port) =>
        listeners.outbound(port),
      ),
      inbound: await inbound.openWanted(CAPTURED, wanted.inbound, (port) =>
        listeners.captured(host, port),
      ),
      link: await inbound.openWanted(LINK, wanted.link, (port) =>
        listeners.link(host, port),
      ),
    };
    const publish: PublishedPort[] = [];
    for (const { port: wish, appPort } of options.publish) {
      const port = await inbound.open(PUBLISHED, wish, (number) =>
        listeners.published(host, number, appPort),
      );
      published.set(appPort, port);
      publish.push({ port, appPort });
    }
    const upstream: UpstreamPort[] = [];
    for (const { port: wish, to } of options.upstream) {
      const named = upstreamOf(to);
      const port = await outbound.open(UPSTREAM, wish, (number) =>
        listeners.upstream(number, named),
      );
      upstreams.set(to, port);
      upstream.push({ port, to });
    }
    return {
      ports: { ...ports, published, upstreams },
      portMappings: { publish, upstream },
      get arriving() {
        return inbound.arriving;
      },
      get sockets() {
        return [...outbound.sockets, ...inbound.sockets];
      },
      stopInbound: () => inbound.stop(),
      stopOutbound: () => outbound.stop(),
      closeInbound: () => inbound.close(),
      closeOutbound: () => outbound.close(),
    };
  } catch (error) {
    inbound.close();
    outbound.close();
    throw error;
  }
}

function upstreamOf(text: string): LocalUpstream {
  const named = parseAuthority(text);
  if (named === undefined)
    throw new UserError(
      `upstream "${text}" is not SERVICE.NAMESPACE or SERVICE.NAMESPACE:PORT`,
    );
  return named;
}
