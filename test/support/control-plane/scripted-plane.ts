/** A control plane that pushes to each sidecar what it subscribes to, of the resources that a test gives it, and can be made to fail: one word of the protocol after the other is in the test's hands. */
import type { ServerDuplexStream } from "@grpc/grpc-js";
import {
  PEER_LIMITS,
  serveConnection,
  STRANGER_LIMITS,
  WAITING_LIMITS,
  strangerHandlers,
} from "../../../src/control-plane/push/connection.ts";
import { unary } from "../../../src/control-plane/push/grpc.ts";
import { listen } from "../../../src/control-plane/push/listener.ts";
import { revision } from "../../../src/push/codec.ts";
import type {
  DeltaRequest,
  DeltaResource,
} from "../../../src/push/messages.ts";
import { RESOURCE_TYPE, REVISION_TYPE } from "../../../src/push/names.ts";
import { type Resource } from "../../../src/resources/envelope.ts";
import { startBehind, TRUST_DOMAIN, type Scope } from "./push-control-plane.ts";
import { digestOf } from "./digest.ts";
import { deltaResponse } from "./delta-response.ts";
import { ScriptedWorld, type Labels } from "./scripted-world.ts";

export interface ScriptedPlane {
  /** "127.0.0.1:PORT" */
  readonly address: string;
  token(): Promise<string>;
  /** What was said on the newest stream, acknowledgements left out. */
  readonly said: readonly DeltaRequest[];
  /** What the newest stream is subscribed to. */
  readonly subscribed: ReadonlySet<string>;
  /** Names of what was pushed on all streams, and "-NAME" of what was taken away. */
  readonly pushed: readonly string[];
  /** Reasons of the refusals. */
  readonly refusals: readonly string[];
  /** Whether it pushes everything and resolves nothing, as one that knows of no interests. */
  older: boolean;
  /** While true it takes what is said, and pushes nothing. */
  silent: boolean;
  /** In each set, whoever it is for. */
  /** Puts, replaces or (with "-NAME") removes, and pushes. */
  change(...changes: readonly (Resource | string)[]): void;
  /** Writes a response on the newest stream, byte for byte. */
  say(response: Buffer): void;
  /** Ends the stream. */
  hangUp(): void;
  close(): Promise<void>;
}

const STORE = "11111111-1111-4111-8111-111111111111";

export async function startScriptedPlane(
  t: Scope,
  resources: readonly Resource[],
): Promise<ScriptedPlane> {
  const world = new ScriptedWorld();
  for (const resource of resources) world.change(resource);
  const behind = await startBehind(t);
  const { enrolment, own, clock, logger } = behind;
  const plane = new Plane(world);
  const listener = await listen({
    host: "127.0.0.1",
    port: 0,
    own: own.credentials,
    trustDomains: [TRUST_DOMAIN],
    waiting: WAITING_LIMITS,
    strangers: STRANGER_LIMITS,
    clock,
    logger,
    onConnection(socket, caller) {
      const strangers = strangerHandlers(
        "no certificate",
        unary((request) => enrolment.enrol(request, caller.source)),
      );
      if (caller.kind === "stranger")
        serveConnection(socket, strangers, STRANGER_LIMITS);
      else
        serveConnection(
          socket,
          {
            ...strangers,
            deltaAggregatedResources: (call) =>
              plane.serve(new Stream(plane, call, caller.peer)),
            register: unary(() => Promise.resolve({ workload: "shop/web-1" })),
            deregister: unary(() => Promise.resolve({})),
          },
          PEER_LIMITS,
        );
    },
  });
  let closed: Promise<void> | undefined;
  plane.close = () =>
    (closed ??= (async () => {
      plane.hangUp();
      await listener.close();
      await behind.close();
    })());
  t.after(plane.close);
  plane.address = `127.0.0.1:${listener.port}`;
  plane.token = () => behind.token();
  return plane;
}

class Plane implements ScriptedPlane {
  readonly world: ScriptedWorld;
  readonly pushed: string[] = [];
  readonly refusals: string[] = [];
  address = "";
  token: () => Promise<string> = () => Promise.resolve("");
  close: () => Promise<void> = () => Promise.resolve();
  older = false;
  #silent = false;
  #stream: Stream | undefined;

  constructor(world: ScriptedWorld) {
    this.world = world;
  }

  get said(): readonly DeltaRequest[] {
    return this.#stream?.said ?? [];
  }

  get subscribed(): ReadonlySet<string> {
    return this.#stream?.subscribed ?? new Set();
  }

  get silent(): boolean {
    return this.#silent;
  }

  set silent(silent: boolean) {
    this.#silent = silent;
    this.#stream?.push();
  }

  serve(stream: Stream): void {
    this.#stream = stream;
  }

  change(...changes: readonly (Resource | string)[]): void {
    for (const change of changes) this.world.change(change);
    this.#stream?.push();
  }

  say(response: Buffer): void {
    this.#stream?.say(response);
  }

  hangUp(): void {
    this.#stream?.end();
  }
}

/** One stream: at most one push is on its way. */
class Stream {
  readonly said: DeltaRequest[] = [];
  readonly subscribed = new Set<string>();
  readonly #plane: Plane;
  readonly #call: ServerDuplexStream<DeltaRequest, Buffer>;
  readonly #self: { readonly namespace: string; readonly labels: Labels };
  #held = new Map<string, string>();
  #nonce = 0;
  #awaiting = 0;
  /** Closes the push once its resources are acknowledged. */
  #close: (() => void) | undefined;
  /** A push of which nothing was held yet is one of nothing, too. */
  #first = true;

  constructor(
    plane: Plane,
    call: ServerDuplexStream<DeltaRequest, Buffer>,
    self: { readonly namespace: string; readonly labels: Labels },
  ) {
    this.#plane = plane;
    this.#call = call;
    this.#self = self;
    call.on("data", (request: DeltaRequest) => this.#hear(request));
    call.on("error", () => undefined);
  }

  push(): void {
    const { world, silent, pushed } = this.#plane;
    if (silent || this.#awaiting > 0 || this.said.length === 0) return;
    const asked = this.#plane.older ? new Set(["*"]) : this.subscribed;
    const wanted = world.setFor(asked, this.#self);
    const changed = [...wanted.values()].filter(
      ({ name, version }) => this.#held.get(name) !== version,
    );
    const removed = [...this.#held.keys()].filter((name) => !wanted.has(name));
    if (changed.length + removed.length === 0 && !this.#first) return;
    this.#first = false;
    pushed.push(
      ...changed.map(({ name }) => name),
      ...removed.map((name) => `-${name}`),
    );
    this.#held = new Map(
      Array.from(wanted.values(), ({ name, version }) => [name, version]),
    );
    const digest = digestOf(this.#held);
    const value = revision.encode({
      store: STORE,
      revision: world.revision,
      digest,
      accepted: false,
      selective: !this.#plane.older,
    });
    this.#send(RESOURCE_TYPE, changed, removed);
    this.#close = () =>
      this.#send(REVISION_TYPE, [
        { name: "revision", version: "1", typeUrl: REVISION_TYPE, value },
      ]);
  }

  say(response: Buffer): void {
    this.#awaiting += 1;
    this.#call.write(response);
  }

  end(): void {
    this.#call.end();
  }

  #hear(request: DeltaRequest): void {
    if (request.nonce !== "") {
      this.#awaiting -= 1;
      if (request.error !== undefined)
        this.#plane.refusals.push(request.error.message);
      const close = this.#close;
      this.#close = undefined;
      close?.();
    } else {
      if (this.said.length === 0) this.#held = new Map(request.initialVersions);
      this.said.push(request);
      for (const name of request.subscribe) this.subscribed.add(name);
      for (const name of request.unsubscribe) this.subscribed.delete(name);
    }
    this.push();
  }

  #send(
    typeUrl: string,
    resources: readonly DeltaResource[],
    removed: readonly string[] = [],
  ): void {
    this.#nonce += 1;
    this.#awaiting += 1;
    this.#call.write(
      deltaResponse.encode({
        systemVersion: "1",
        typeUrl,
        nonce: String(this.#nonce),
        resources,
        removed,
      }),
    );
  }
}
