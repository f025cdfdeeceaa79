/** A connection to a provider that speaks gRPC, as long as it is worth asking on. grpc-js itself notices a peer that says no, and not one that says nothing. */
import type { Socket } from "node:net";
import type { ChannelCredentials, Client } from "@grpc/grpc-js";
import { changeConnectors } from "../../../agent/connections/secure-connector.ts";
import type { Clock } from "../../../core/clock.ts";
import { late } from "../../../runtime/late.ts";
import type { Provider } from "../../../resources/mesh/providers.ts";
import type { CheckRequest, CheckResponse } from "./messages.ts";
import { provenName } from "./proven-name.ts";

/** Bytes of a response. */
const MOST_ANSWER = 131_072;
/** The server name that is asked for where there is none: grpc-js would ask for the address. Nobody can have it (RFC 6761 6.4). */
const NAMELESS = "address.invalid";
/** Milliseconds between attempts to connect, at most. */
const LONGEST_PAUSE = 2000;
/** Questions without a response, each with none to others since it was asked, after which a connection counts as silent. */
const MOST_UNHEARD = 2;
/** Milliseconds that a connection has for its first response: a provider that is slow for all is not dialled by all, again and again. */
const PATIENCE = 10_000;

export type GrpcServer = Extract<Provider["server"], { kind: "grpc" }>;

export interface OpenClient {
  readonly grpc: Client;
  readonly encode: (request: CheckRequest) => Buffer;
  readonly decode: (bytes: Buffer) => CheckResponse;
}

export class GrpcChannel {
  readonly client: Promise<OpenClient>;
  readonly #clock: Clock;
  readonly #openedAt: number;
  readonly #sockets = new Set<Socket>();
  #asking = 0;
  #heard = 0;
  #unheard = 0;
  #closed = false;
  #failed = false;

  constructor(server: GrpcServer, clock: Clock) {
    this.#clock = clock;
    this.#openedAt = clock.now();
    this.client = openClient(server, this.#sockets);
    // Made ahead: nobody may wait for it yet.
    this.client.catch(() => (this.#failed = true));
  }

  /** Another one should be tried: it could not be made, or it is silent. */
  get isLost(): boolean {
    return this.#failed || this.#isSilent;
  }

  /** A way that is lost without a word looks so: a NAT forgot it, or its machine is gone. */
  get #isSilent(): boolean {
    return (
      this.#unheard >= MOST_UNHEARD &&
      (this.#heard > 0 || this.#clock.now() - this.#openedAt >= PATIENCE)
    );
  }

  /** A question is asked on it; call the result once: with a response, or called off. */
  ask(): (heard: boolean) => void {
    const before = this.#heard;
    this.#asking += 1;
    return (heard) => {
      this.#asking -= 1;
      if (heard) {
        this.#heard += 1;
        this.#unheard = 0;
      } else if (this.#heard === before) this.#unheard += 1;
      this.#endIfOver();
    };
  }

  /** Once its questions are over. */
  close(): void {
    this.#closed = true;
    this.#endIfOver();
  }

  #endIfOver(): void {
    if (!this.#closed || this.#asking > 0) return;
    this.client
      .then(({ grpc }) => {
        grpc.close();
        // An orderly end would wait for words of the other end.
        if (this.#isSilent) for (const each of this.#sockets) each.destroy();
      })
      .catch(() => undefined);
  }
}

/** gRPC and its messages are loaded where a provider speaks it, and not with every sidecar. */
async function openClient(
  server: GrpcServer,
  sockets: Set<Socket>,
): Promise<OpenClient> {
  const { Client, ChannelCredentials } = await late(
    () => import("../../../runtime/grpc.ts"),
  );
  const { encodeCheck, decodeCheck } = await late(
    () => import("./messages.ts"),
  );
  const { address, tls } = server;
  const proven = tls && provenName(address, tls);
  const credentials =
    tls === undefined
      ? ChannelCredentials.createInsecure()
      : ChannelCredentials.createSsl(
          tls.trustBundle === undefined ? null : Buffer.from(tls.trustBundle),
          null,
          null,
          proven && { checkServerIdentity: proven.check },
        );
  keepSockets(credentials, sockets);
  const grpc = new Client(`dns:///${address}`, credentials, {
    ...(proven === undefined
      ? {}
      : { "grpc.ssl_target_name_override": proven.serverName ?? NAMELESS }),
    "grpc.max_receive_message_length": MOST_ANSWER,
    "grpc.max_send_message_length": -1,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": LONGEST_PAUSE,
    "grpc.use_local_subchannel_pool": 1,
    "grpc.enable_http_proxy": 0,
    "grpc.enable_retries": 0,
    "grpc.enable_channelz": 0,
    "grpc.service_config_disable_resolution": 1,
  });
  return { grpc, encode: encodeCheck, decode: decodeCheck };
}

/** Its connections that are open, in `sockets`. */
function keepSockets(
  credentials: ChannelCredentials,
  sockets: Set<Socket>,
): void {
  changeConnectors(credentials, (connector) => {
    const connect = connector.connect.bind(connector);
    connector.connect = (raw) => {
      sockets.add(raw);
      raw.once("close", () => sockets.delete(raw));
      return connect(raw);
    };
  });
}
