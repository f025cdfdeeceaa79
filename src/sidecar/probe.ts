/** Whether the local application is there: its ports are tried by a TCP connection, at first often, then now and then (law 12). */
import { connect } from "node:net";
import { afterArrivals, type Cancel, type Clock } from "../core/clock.ts";
import { messageOf, systemCode } from "../core/errors.ts";
import { listeningAddresses, readTables } from "../core/local/port-owner.ts";
import type { Logger } from "../core/log.ts";
import { formatHostPort } from "../core/text/host-port.ts";
import type { MonotonicMs } from "../core/units.ts";
import { watchSource, type Watch } from "../core/watch.ts";
import { resultOfError, type CheckResult } from "../policy/health.ts";

export interface ProbeOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly address: string;
  /** The application's ports as they are now; none: there is nothing to wait for. */
  readonly ports: () => readonly number[];
  /** The sidecar's own, on which no application can be. */
  readonly ownPorts: ReadonlySet<number>;
}

/** What is known of the application's ports. */
export interface PortsFound {
  /** One of them took a connection, or there is none. */
  readonly answers: boolean;
  /** Those that take none, each with the reason in words. */
  readonly silent: ReadonlyMap<number, string>;
}

export interface Probe {
  /** Undefined until a port has answered or the application is late: it may be about to start. */
  readonly found: Watch<PortsFound | undefined>;
  /** Looks often from now on, whether the application is there or not. */
  hurry(): void;
  close(): void;
}

/** Milliseconds between two looks until the application is there, and after. */
const EAGER = 100;
const STEADY = 2000;
const CONNECT_TIMEOUT = 1000;
/** Looks in a row that must fail before a port that took connections is taken to be closed. */
const FAILURES = 3;
/** Milliseconds after which a port that never took a connection is worth a line in the log; what is wrong with it is looked up as often. */
export const LATE = 10_000;
/** Addresses that are named. */
const MOST_NAMED = 4;

interface Port {
  answers: boolean;
  /** Looks in a row that found nothing. */
  failures: number;
  /** When the first of these was. */
  since: MonotonicMs;
  hasAnswered: boolean;
  /** By what the latest look failed. */
  fault: Fault;
  /** What is said of it, and since when. */
  why: string | undefined;
  lookedUpAt: MonotonicMs;
  /** What the log says of it. */
  logged: string | undefined;
}

/** Why a port took no connection. */
type Fault = "own" | "refused" | { readonly text: string };

/** "unknown": the machine could not look. */
interface Look {
  readonly kind: CheckResult["kind"];
  readonly fault: Fault;
}

export function startProbe(options: ProbeOptions): Probe {
  return new PortProbe(options);
}

class PortProbe implements Probe {
  readonly found = watchSource<PortsFound | undefined>(undefined);
  readonly #options: ProbeOptions;
  readonly #startedAt: MonotonicMs;
  #ports = new Map<number, Port>();
  #cancel: Cancel | undefined;
  #closed = false;
  #hurried = false;

  constructor(options: ProbeOptions) {
    this.#options = options;
    this.#startedAt = options.clock.now();
    this.#next();
  }

  hurry(): void {
    this.#hurried = true;
    // A look in flight is followed by the next one anyway.
    if (this.#cancel === undefined || this.#closed) return;
    this.#cancel();
    this.#next();
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
  }

  #next(): void {
    this.#cancel = undefined;
    this.#look().catch(() => {
      // What cannot be looked at is looked at again.
      if (this.#closed) return;
      const { clock } = this.#options;
      this.#cancel = clock.after(EAGER, () => this.#next());
    });
  }

  async #look(): Promise<void> {
    const { clock, ports } = this.#options;
    const numbers = [...new Set(ports())];
    const looks = await Promise.all(
      numbers.map(async (port) => [port, await this.#lookAt(port)] as const),
    );
    const now = clock.now();
    const before = this.#ports;
    this.#ports = new Map();
    for (const [port, look] of looks) {
      const state = before.get(port) ?? newPort(now);
      this.#ports.set(port, state);
      take(state, look, now);
    }
    const all = [...this.#ports.values()];
    const answers = all.length === 0 || all.some((port) => port.answers);
    const known =
      answers ||
      this.found.value !== undefined ||
      now - this.#startedAt >= LATE;
    if (known) await this.#lookUp(now);
    if (this.#closed) return;
    if (known) this.#tell(answers, now);
    this.#cancel = clock.after(
      this.#isEager(answers, now) ? EAGER : STEADY,
      () => this.#next(),
    );
  }

  #lookAt(port: number): Promise<Look> {
    const { clock, address, ownPorts } = this.#options;
    return ownPorts.has(port)
      ? Promise.resolve({ kind: "unhealthy", fault: "own" })
      : lookAt(clock, address, port);
  }

  /** Ports that serve must not be dialled ten times a second for as long as another is dead. */
  #isEager(answers: boolean, now: MonotonicMs): boolean {
    if (this.#hurried || !answers) return true;
    for (const { failures, since } of this.#ports.values())
      if (failures > 0 && now - since < LATE) return true;
    return false;
  }

  /** What listens in place of what was looked for. */
  async #lookUp(now: MonotonicMs): Promise<void> {
    const due = [...this.#ports].filter(
      ([, { answers, why, lookedUpAt }]) =>
        !answers && (why === undefined || now - lookedUpAt >= LATE),
    );
    if (due.length === 0) return;
    const tables = await readTables();
    for (const [number, port] of due) {
      port.why = whyOf(this.#options.address, number, port.fault, tables);
      port.lookedUpAt = now;
    }
  }

  #tell(answers: boolean, now: MonotonicMs): void {
    const silent = new Map<number, string>();
    for (const [number, port] of this.#ports) {
      if (!port.answers) silent.set(number, port.why ?? "");
      if (!this.#hurried) this.#log(number, port, now);
    }
    const { value } = this.found;
    if (value?.answers !== answers || !same(value.silent, silent))
      this.found.set({ answers, silent });
  }

  /** A line as soon as a port has gone silent, or never came in time, and one when it answers again. */
  #log(port: number, state: Port, now: MonotonicMs): void {
    const { logger, address } = this.#options;
    if (state.answers) {
      if (state.logged !== undefined)
        logger.info({ address, port }, "the application takes connections");
      state.logged = undefined;
      return;
    }
    const { why, hasAnswered, since } = state;
    if (state.logged === why) return;
    if (!hasAnswered && now - since < LATE) return;
    state.logged = why;
    logger.warn(
      { address, port, reason: why },
      "the application cannot be reached, so this port gets no calls: let it listen there, or correct --app-port or --app-address",
    );
  }
}

function newPort(now: MonotonicMs): Port {
  return {
    answers: false,
    failures: 0,
    since: now,
    hasAnswered: false,
    fault: "refused",
    why: undefined,
    lookedUpAt: now,
    logged: undefined,
  };
}

function take(port: Port, { kind, fault }: Look, now: MonotonicMs): void {
  switch (kind) {
    case "healthy":
      port.answers = true;
      port.hasAnswered = true;
      port.failures = 0;
      port.why = undefined;
      break;
    case "unhealthy":
      if (port.failures === 0) port.since = now;
      port.failures += 1;
      port.fault = fault;
      if (port.failures >= FAILURES) port.answers = false;
      break;
    case "unknown":
      port.fault = fault;
      break;
  }
}

function lookAt(clock: Clock, host: string, port: number): Promise<Look> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const settle = (kind: Look["kind"], fault: Fault): void => {
      cancel();
      socket.destroy();
      resolve({ kind, fault });
    };
    const cancel = afterArrivals(clock, CONNECT_TIMEOUT, () =>
      settle("unhealthy", { text: "no response within 1 s" }),
    );
    socket.on("connect", () => settle("healthy", "refused"));
    socket.on("error", (thrown) =>
      settle(
        resultOfError(thrown).kind,
        systemCode(thrown) === "ECONNREFUSED"
          ? "refused"
          : { text: systemCode(thrown) ?? messageOf(thrown) },
      ),
    );
  });
}

/** "127.0.0.1:8080: connection refused; something listens on [::1]:8080" */
function whyOf(
  address: string,
  port: number,
  fault: Fault,
  tables: string,
): string {
  const place = formatHostPort(address, port);
  if (fault === "own") return `${place} is the sidecar's own port`;
  if (fault !== "refused") return `${place}: ${fault.text}`;
  const refused = `${place}: connection refused`;
  if (tables === "") return refused;
  const others = [...listeningAddresses(tables, port)]
    .slice(0, MOST_NAMED)
    .map((each) => formatHostPort(each, port));
  return others.length === 0
    ? `${refused}; nothing listens on port ${port} there`
    : `${refused}; something listens on ${others.join(", ")}`;
}

function same(
  left: ReadonlyMap<number, string>,
  right: ReadonlyMap<number, string>,
): boolean {
  if (left.size !== right.size) return false;
  for (const [port, why] of left) if (right.get(port) !== why) return false;
  return true;
}
