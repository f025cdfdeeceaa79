/** A request that is being checked, and what its checks have found out: it stands for as long as the exchange lasts. */
import type {
  AuthorizationFacts,
  AuthorizedRequest,
} from "../../policy/authorization/call.ts";
import type { CustomMatch } from "../../policy/authorization/custom.ts";
import { readRequest, type ReadRequest } from "../../policy/path.ts";
import type { HeaderEdits } from "../../policy/routing/header-edits.ts";
import type { VerifiedToken } from "../../policy/tokens/token-edits.ts";
import type { InboundPort, Snapshot } from "../../policy/snapshot.ts";
import type { ServerConnectionInfo } from "../../wire/exchange.ts";
import { fieldValue } from "../../wire/fields.ts";
import type { RequestRecord } from "../exchange/request-record.ts";
import type { HeldStream } from "./held-stream.ts";

/** The request as policy reads it. */
export type Read = Extract<ReadRequest, { ok: true }>;

export class CheckedRequest {
  readonly snapshot: Snapshot;
  readonly port: InboundPort;
  readonly held: HeldStream;
  /** The verified one; undefined where the request has none. */
  token: VerifiedToken | undefined;
  /** Providers that let it pass. */
  readonly allowed: Set<string> = new Set();
  readonly #written = new Set<string>();
  readonly #record: Pick<RequestRecord, "providers">;
  #read: Read | undefined;
  /** What was known when providers were first to be asked: they may write what their rules read. */
  #asked: AuthorizationFacts | undefined;
  #matches: readonly CustomMatch[] | undefined;

  /** `read` undefined: a tunnel, which has nothing to read. */
  constructor(
    snapshot: Snapshot,
    port: InboundPort,
    held: HeldStream,
    read: Read | undefined,
    record: Pick<RequestRecord, "providers">,
  ) {
    this.#record = record;
    this.snapshot = snapshot;
    this.port = port;
    this.held = held;
    this.#read = read;
  }

  /** With what the checks made of it so far. */
  get read(): Read | undefined {
    return this.#read;
  }

  /** What policy knows of the call by now; `port`: that of the snapshot which judges. */
  factsOf(port: InboundPort): AuthorizationFacts {
    return {
      ...factsOf(port, this.held.connection, this.#read?.facts),
      // Where no rule is left, nobody vouches for it any more.
      claims: port.tokens && this.token?.claims,
    };
  }

  /** The rules for which providers are asked. */
  get matches(): readonly CustomMatch[] {
    this.#asked ??= this.factsOf(this.port);
    this.#matches ??= this.port.custom?.matches(this.#asked) ?? [];
    return this.#matches;
  }

  /** A provider has said something, or nothing: for log, metric and span. */
  asked(provider: string, result: string): void {
    const { providers } = this.#record;
    const said = `${provider} ${result}`;
    this.#record.providers =
      providers === undefined ? said : `${providers}, ${said}`;
  }

  /** The first rule of `port` that asks a provider which has not let it pass: policy has changed since. */
  unasked(port: InboundPort): CustomMatch | undefined {
    return port.custom
      ?.matches(this.#asked ?? this.factsOf(port))
      .find(({ provider }) => !this.allowed.has(provider));
  }

  /** A check has written these for the application: what has their names now is nothing that the caller said. */
  wrote(pairs: readonly { readonly name: string }[]): void {
    for (const { name } of pairs) this.#written.add(name);
  }

  /** Whether a check has written the headers of that name. */
  isWritten(name: string): boolean {
    return this.#written.has(name);
  }

  /** Changes the request's fields, and its path where there is one, for the checks and policies after this one and for the application. */
  edit(edits: HeaderEdits, path?: string): void {
    this.held.edit(edits, path);
    const read =
      this.#read &&
      readRequest(this.held.head, this.snapshot.mesh.pathNormalization);
    if (read?.ok === true) this.#read = read;
  }

  /** Lets the body come now, where its caller waits for leave to send it (RFC 9110 10.1.1). The application is not asked for it again. */
  proceed(): void {
    const { held } = this;
    if (fieldValue(held.head.fields, "expect") === undefined) return;
    held.informational({ status: 100, fields: [], contentLength: undefined });
    this.edit({ set: [], add: [], remove: new Set(["expect"]) });
  }
}

/** `request` undefined: a tunnel. */
export function factsOf(
  { targetPort: port }: InboundPort,
  connection: ServerConnectionInfo,
  request: AuthorizedRequest | undefined,
): AuthorizationFacts {
  return { peer: connection.peer, port, connection, request };
}
