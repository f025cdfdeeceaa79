/** The state of a sidecar's agent in a mesh, gathered from what its parts report into one watch. */
import { watchSource, type Watch, type WatchSource } from "../core/watch.ts";
import type { UnreadReport } from "../push/messages.ts";
import type { AgentState, RefusedConfig } from "./agent.ts";
import type { CertificatesFault } from "./enrolment/certificates.ts";
import type { KeptConfig } from "./kept-config.ts";
import type { RegistrationState } from "./registration.ts";

/** What the agent's own work has come to. */
export interface Progress {
  readonly source: AgentState["source"];
  readonly connected: boolean;
  readonly refused?: RefusedConfig | undefined;
  readonly unread?: UnreadReport | undefined;
  /** What keeps the agent without a connection or a config. */
  readonly streamError?: string | undefined;
  /** Why the config cannot be written to disk. */
  readonly keepError?: string | undefined;
}

/** The parts whose own state is shown as well. */
export interface StatusParts {
  readonly config: { readonly current: KeptConfig | undefined };
  readonly fault: Watch<CertificatesFault>;
  readonly registration: Watch<RegistrationState>;
}

export class AgentStatus {
  readonly #parts: StatusParts;
  readonly #state: WatchSource<AgentState>;
  #progress: Progress = { source: "none", connected: false };

  constructor(parts: StatusParts) {
    this.#parts = parts;
    this.#state = watchSource<AgentState>({
      source: "none",
      connected: false,
    });
    parts.fault.subscribe(() => this.refresh());
    parts.registration.subscribe(() => this.refresh());
  }

  get state(): Watch<AgentState> {
    return this.#state;
  }

  get progress(): Progress {
    return this.#progress;
  }

  update(change: Partial<Progress>): void {
    this.#progress = { ...this.#progress, ...change };
    this.refresh();
  }

  refresh(): void {
    const { config, fault, registration } = this.#parts;
    this.#state.set(
      stateOf(this.#progress, config.current, fault.value, registration.value),
    );
  }
}

/** The most urgent failure is the one shown: without a certificate nothing else can succeed. */
export function stateOf(
  progress: Progress,
  config: Pick<KeptConfig, "version" | "receivedAt"> | undefined,
  fault: CertificatesFault,
  registration: RegistrationState,
): AgentState {
  const { source, connected, refused, unread, streamError, keepError } =
    progress;
  const { registered } = registration;
  const { alarm } = fault;
  const lastError =
    fault.error ?? streamError ?? registration.error ?? keepError;
  return {
    source,
    connected,
    ...(config === undefined
      ? {}
      : { version: config.version, configReceivedAt: config.receivedAt }),
    ...(refused === undefined ? {} : { refused }),
    ...(unread === undefined ? {} : { unread }),
    ...(registered === undefined ? {} : { registered }),
    ...(alarm === undefined ? {} : { certificateAlarm: alarm }),
    ...(lastError === undefined ? {} : { lastError }),
  };
}
