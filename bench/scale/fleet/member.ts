/** One sidecar of the fleet without its proxy: its certificate, its stream and its staging are the agent's own, and what it holds is put in force by nobody. */
import { openClient } from "../../../src/agent/connection.ts";
import { describeSelf } from "../../../src/agent/self.ts";
import type { ReceivedConfig } from "../../../src/agent/staging.ts";
import { PacedWork } from "../../../src/core/paced-work.ts";
import { threadCpu } from "../../../src/runtime/thread-cpu.ts";
import { runStream } from "../../../src/agent/stream.ts";
import type { Authority } from "../../../src/control-plane/authority/authority.ts";
import { equalJitter } from "../../../src/core/backoff.ts";
import { wait, type Clock } from "../../../src/core/clock.ts";
import {
  loadCredentials,
  type Credentials,
} from "../../../src/identity/credentials.ts";
import { generatePrivateKey } from "../../../src/identity/private-key.ts";
import { createCsr } from "../../../src/identity/x509.ts";
import type { Revision } from "../../../src/push/messages.ts";
import { NODE, SCHEMA_VERSION } from "../../../src/push/names.ts";
import { CALLERS, MOST_CONFIG, TRUST_DOMAIN } from "../layout.ts";

/** As the agent's. */
const RECONNECT = { base: 250, max: 2000 } as const;
const DAY = 86_400_000;

export interface MemberOptions {
  readonly index: number;
  /** "HOST:PORT" of the control plane. */
  readonly controlPlane: string;
  readonly authority: Authority;
  /** What it subscribes to; undefined: everything. */
  readonly interests: readonly string[] | undefined;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** It has taken a push, which it acknowledges at once. */
  readonly onTaken: () => void;
}

export class Member {
  readonly #options: MemberOptions;
  readonly #credentials: Credentials;
  #held: ReceivedConfig = { resources: new Map(), lookups: new Map() };
  #version: Revision | undefined;
  #takenAt = Number.NEGATIVE_INFINITY;
  #fault: string | undefined;

  constructor(options: MemberOptions) {
    this.#options = options;
    this.#credentials = credentialsOf(options);
  }

  get revision(): number {
    return this.#version?.revision ?? 0;
  }

  /** Monotonic milliseconds of the last push. */
  get takenAt(): number {
    return this.#takenAt;
  }

  get resources(): number {
    return this.#held.resources.size;
  }

  /** Why its last stream ended, or why it refused a push. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** Follows the control plane until the signal aborts. */
  async run(): Promise<void> {
    const { clock, signal } = this.#options;
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      const before = this.#takenAt;
      this.#fault = await this.#stream();
      if (this.#takenAt > before) attempt = 1;
      await wait(clock, equalJitter(RECONNECT, attempt, clock), signal).catch(
        () => undefined,
      );
    }
  }

  async #stream(): Promise<string> {
    const { controlPlane, interests, clock, signal } = this.#options;
    const client = openClient({
      address: controlPlane,
      trustBundle: this.#credentials.trustBundle,
      credentials: this.#credentials,
      clock,
      maxMessageBytes: MOST_CONFIG,
    });
    try {
      const end = await runStream({
        client,
        node: this.#node(),
        held: this.#held,
        subscribe: interests === undefined ? undefined : () => interests,
        maxConfigBytes: MOST_CONFIG,
        // It serves no calls that it could hold up.
        work: new PacedWork({ clock, cpu: threadCpu }),
        clock,
        signal,
        onOpen: () => undefined,
        onPush: (revision, received) => this.#take(revision, received),
        onTrust: () => Promise.resolve(undefined),
        onUnusable: (_revision, reason) => (this.#fault = reason),
      });
      return end.reason;
    } finally {
      client.close();
    }
  }

  #take(
    revision: Revision,
    received: ReceivedConfig,
  ): Promise<{ readonly refused?: string }> {
    this.#held = received;
    this.#version = revision;
    this.#takenAt = this.#options.clock.now();
    this.#options.onTaken();
    return Promise.resolve({});
  }

  #node(): Parameters<typeof runStream>[0]["node"] {
    const { namespace, name } = describeSelf(this.#credentials, {});
    const version = this.#version;
    return {
      id: `${namespace}/${name}`,
      metadata: {
        [NODE.schema]: String(SCHEMA_VERSION),
        [NODE.version]: "bench",
        ...(version === undefined
          ? {}
          : {
              [NODE.store]: version.store,
              [NODE.revision]: String(version.revision),
              [NODE.digest]: version.digest,
              [NODE.receivedAt]: String(this.#options.clock.wall()),
            }),
      },
    };
  }
}

/** Signed by the mesh's own authority: enrolment is not what is measured. */
function credentialsOf({
  index,
  authority,
  clock,
}: MemberOptions): Credentials {
  const privateKey = generatePrivateKey();
  const { certificateChain } = authority.sign(createCsr(privateKey), {
    // Those of one account would each be given what all of them use.
    spiffeId: `spiffe://${TRUST_DOMAIN}/ns/${CALLERS}/sa/fleet-${index}`,
    name: `fleet-${index}`,
    labels: { app: "fleet" },
    ttlMs: DAY,
  });
  return loadCredentials(
    { certificateChain, privateKey, trustBundle: authority.trustBundle },
    clock.wall(),
  );
}
