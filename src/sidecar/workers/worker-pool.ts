/** The main thread's side of the other workers: starts them, hands them what they serve by, asks them, and ends them. */
import { Worker } from "node:worker_threads";
import type {
  Peers,
  SharedConfig,
  SharedObservations,
  SharedReports,
} from "../../agent/agent.ts";
import type { SharedLookups } from "../../agent/interest/lookups.ts";
import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { VirtualName } from "../../proxy/dns/virtual-addresses.ts";
import type { ListeningSocket } from "../../proxy/downstream/handed-listeners.ts";
import type { LocalConnections } from "../../proxy/downstream/acceptor.ts";
import type { Credentials } from "../../identity/credentials.ts";
import type { OutsideCall } from "../../push/messages.ts";
import type { LineSink } from "../../telemetry/line-file.ts";
import type { SpanSink } from "../../telemetry/tracing.ts";
import type { ClustersView, OverloadView, WorkerView } from "./views.ts";
import type {
  Answers,
  FromThread,
  Looked,
  Question,
  ThreadData,
  ToThread,
} from "./protocol.ts";
import type { Side } from "./worker.ts";

export interface WorkerPoolOptions {
  readonly clock: Clock;
  /** Besides the first worker, which is the main thread's own. */
  readonly threads: number;
  readonly data: Omit<ThreadData, "worker" | "handed">;
  /** What each worker is to listen on, the first worker's included; absent: nothing was handed over. */
  readonly handed?: readonly (readonly ListeningSocket[])[] | undefined;
  /** Where the access log of all goes. */
  readonly lines: LineSink;
  readonly spans: SpanSink;
  /** A thread ended that was not told to. Called once at most. */
  onLost(error: Error): void;
}

export interface WorkerPool extends Peers {
  /** Resolves once all listen; rejects where one cannot. */
  readonly open: Promise<void>;
  credentials(credentials: Credentials): void;
  ownPorts(ports: Iterable<number>): void;
  /** Resolves what the threads ask. */
  lookups(lookups: SharedLookups): void;
  /** Takes what the threads have seen. */
  reports(reports: SharedReports): void;
  observations(observations: SharedObservations): void;
  outside(outside: SharedObservations<OutsideCall>): void;
  level(level: string): void;
  metrics(): Promise<readonly string[]>;
  clusters(): Promise<readonly ClustersView[]>;
  overload(): Promise<readonly OverloadView[]>;
  workers(): Promise<readonly WorkerView[]>;
  /** A worker that has ended has none. */
  localConnections(): Promise<readonly LocalConnections[]>;
  /** All accept connections on what was handed over. */
  begin(): Promise<void>;
  sockets(): Promise<readonly ListeningSocket[]>;
  /** Resolves once all know that each address stands for its host. */
  shareVirtual(names: readonly VirtualName[]): Promise<void>;
  retire(): void;
  refuse(side: Side): void;
  depart(): void;
  /** What is in flight on that side, once it was refused. */
  active(side: Side): number;
  /** Ends all of them; what they had left to tell has come by then. */
  end(): Promise<void>;
}

const NONE: LocalConnections = { open: 0, made: 0 };

/** Resources of one message: it is written and read at once. */
const STAGED = 64;

/** Milliseconds that a thread has to end by itself. */
const END_WITHIN = 5000;

/** Beside this file; the bundle has it beside its own beginning. */
const ENTRY = new URL(
  import.meta.url.endsWith(".ts") ? "./thread.ts" : "./thread.mjs",
  import.meta.url,
);

export function startWorkerPool(options: WorkerPoolOptions): WorkerPool {
  let lost: Error | undefined;
  const onLost = (error: Error): void => {
    if (lost !== undefined) return;
    lost = error;
    options.onLost(error);
  };
  const members = Array.from(
    { length: options.threads },
    (_, index) => new Member(options, index + 1, onLost),
  );
  const all = <T>(run: (member: Member) => Promise<T>): Promise<T[]> =>
    Promise.all(members.map(run));
  const open = all((member) => member.open).then(() => undefined);
  // Those that wait for it hear of it; where nobody does yet, that is not a defect.
  open.catch(() => undefined);
  const tell = (message: ToThread): void => {
    for (const member of members) member.tell(message);
  };

  return {
    open,
    async compile({ difference, ...version }: SharedConfig) {
      const { changed, removed } = difference;
      const config = { ...version, difference: { changed: [], removed } };
      try {
        await open;
        for (let at = 0; at < changed.length; at += STAGED) {
          const some = changed.slice(at, at + STAGED);
          await all((member) => member.ask({ ask: "stage", changed: some }));
        }
        const reasons = await all((member) =>
          member.ask({ ask: "compile", config }),
        );
        return reasons.find((reason) => reason !== undefined);
      } catch (thrown) {
        return messageOf(thrown);
      }
    },
    async swap() {
      await all((member) => member.ask({ ask: "swap" }));
    },
    credentials: (credentials) => tell({ tell: "credentials", credentials }),
    ownPorts: (ports) => tell({ tell: "ownPorts", ports: [...ports] }),
    lookups(lookups) {
      for (const member of members) member.lookups = lookups;
      lookups.onForget((forgotten) => tell({ tell: "forget", forgotten }));
    },
    reports(reports) {
      for (const member of members) member.reports = reports;
    },
    observations(observations) {
      for (const member of members) member.observations = observations;
    },
    outside(outside) {
      for (const member of members) member.outside = outside;
    },
    level: (level) => tell({ tell: "level", level }),
    ...viewsOf(all),
    ...stepsOf(all),
    ...endOf(members),
    async end() {
      await all((member) => member.end());
    },
  };
}

/** How they go. */
function endOf(
  members: readonly Member[],
): Pick<WorkerPool, "retire" | "refuse" | "depart" | "active"> {
  return {
    retire() {
      for (const member of members) member.retire();
    },
    refuse(side) {
      for (const member of members) member.refuse(side);
    },
    depart() {
      for (const member of members) member.tell({ tell: "depart" });
    },
    active: (side) =>
      members.reduce((sum, member) => sum + member.active[side], 0),
  };
}

/** What all have done once it resolves. */
function stepsOf(
  all: <T>(run: (member: Member) => Promise<T>) => Promise<T[]>,
): Pick<WorkerPool, "begin" | "shareVirtual"> {
  return {
    async begin() {
      await all((member) => member.ask({ ask: "begin" }));
    },
    async shareVirtual(names) {
      await all((member) => member.ask({ ask: "virtual", names }));
    },
  };
}

/** What the members show of themselves. */
function viewsOf(
  all: <T>(run: (member: Member) => Promise<T>) => Promise<T[]>,
): Pick<
  WorkerPool,
  | "metrics"
  | "clusters"
  | "overload"
  | "workers"
  | "localConnections"
  | "sockets"
> {
  return {
    metrics: () => all((member) => member.metrics()),
    clusters: () => all((member) => member.ask({ ask: "clusters" })),
    overload: () => all((member) => member.ask({ ask: "overload" })),
    workers: () => all((member) => member.ask({ ask: "worker" })),
    localConnections: () =>
      all((member) =>
        member.ask({ ask: "localConnections" }).catch(() => NONE),
      ),
    sockets: async () =>
      (await all((member) => member.ask({ ask: "sockets" }))).flat(),
  };
}

interface Asked {
  readonly answer: (value: unknown) => void;
  readonly fail: (error: Error) => void;
}

/** One of the threads. */
class Member {
  readonly active = { inbound: 0, outbound: 0 };
  lookups: SharedLookups | undefined;
  reports: SharedReports | undefined;
  observations: SharedObservations | undefined;
  outside: SharedObservations<OutsideCall> | undefined;
  readonly #options: WorkerPoolOptions;
  readonly #worker: number;
  readonly #onLost: (error: Error) => void;
  readonly #thread: Worker;
  #lastMetrics: string | undefined;
  readonly #asked = new Map<number, Asked>();
  readonly #opening = Promise.withResolvers<undefined>();
  #numbers = 0;
  #ending = false;
  #over: Error | undefined;

  constructor(
    options: WorkerPoolOptions,
    worker: number,
    onLost: (error: Error) => void,
  ) {
    this.#options = options;
    this.#worker = worker;
    this.#onLost = onLost;
    const handed = options.handed?.[worker] ?? [];
    const workerData: ThreadData = { ...options.data, worker, handed };
    this.#thread = new Worker(ENTRY, { name: `worker ${worker}`, workerData });
    this.#thread.on("message", (message: FromThread) => this.#hear(message));
    this.#thread.on("error", (error) =>
      this.#ended(`: ${messageOf(error)}`, error),
    );
    this.#thread.on("exit", (code) => this.#ended(` ended with code ${code}`));
  }

  get open(): Promise<undefined> {
    return this.#opening.promise;
  }

  tell(message: ToThread, transfer: ArrayBuffer[] = []): void {
    if (this.#over === undefined) this.#thread.postMessage(message, transfer);
  }

  ask<Q extends Question>(question: Q): Promise<Answers[Q["ask"]]> {
    return new Promise((resolve, reject) => {
      if (this.#over !== undefined) {
        reject(this.#over);
        return;
      }
      this.#numbers += 1;
      this.#asked.set(this.#numbers, {
        // The thread answers a question as `Answers` says.
        answer: (value) => resolve(value as Answers[Q["ask"]]),
        fail: reject,
      });
      this.#thread.postMessage({ ...question, number: this.#numbers });
    });
  }

  /** Once it has ended, the last that it had: what is sent at the end must not be less than before. */
  metrics(): Promise<string> {
    return this.#lastMetrics === undefined
      ? this.ask({ ask: "metrics" })
      : Promise.resolve(this.#lastMetrics);
  }

  refuse(side: Side): void {
    // Until it reports, nobody knows.
    if (this.#over === undefined) this.active[side] = 1;
    this.tell({ tell: "refuse", side });
  }

  retire(): void {
    if (this.#over === undefined) this.active.outbound = 1;
    this.tell({ tell: "retire" });
  }

  async end(): Promise<void> {
    this.#ending = true;
    if (this.#over === undefined) {
      const late = Promise.withResolvers<undefined>();
      const cancel = this.#options.clock.after(END_WITHIN, () =>
        late.resolve(undefined),
      );
      this.#lastMetrics = await Promise.race([
        this.ask({ ask: "end" }).catch(() => undefined),
        late.promise,
      ]);
      cancel();
    }
    await this.#thread.terminate();
  }

  #hear(message: FromThread): void {
    switch (message.kind) {
      case "open":
        this.#opening.resolve(undefined);
        return;
      case "failed":
        this.#ended(`: ${message.message}`);
        return;
      case "answer":
        this.#asked.get(message.number)?.answer(message.value);
        this.#asked.delete(message.number);
        return;
      case "look":
        this.#look(message);
        return;
      case "used":
        this.lookups?.mark(message.used);
        return;
      case "sighted":
        this.reports?.tell(message.sightings);
        return;
      case "observed":
        this.observations?.tell(message.observed);
        return;
      case "outside":
        this.outside?.tell(message.outside);
        return;
      case "active":
        this.active.inbound = message.active.inbound;
        this.active.outbound = message.active.outbound;
        return;
      case "spans":
        for (const span of message.spans) this.#options.spans(span);
        this.tell({ tell: "spansTaken" });
        return;
      case "lines":
        this.#write(message);
    }
  }

  #look({ number, want }: Extract<FromThread, { kind: "look" }>): void {
    const { lookups } = this;
    const { service, questions } = want;
    const reply = (looked: Looked): void =>
      this.tell({ tell: "looked", number, looked });
    const isUsed = service !== undefined && lookups?.use(service) === true;
    if (lookups === undefined || lookups.everything || isUsed)
      reply({ kind: "granted" });
    else
      lookups.look({ service: undefined, questions }, (failure) =>
        reply(
          failure === undefined
            ? { kind: "known" }
            : { kind: "failed", failure },
        ),
      );
  }

  #write(message: Extract<FromThread, { kind: "lines" }>): void {
    const { lines } = this.#options;
    const { buffer, byteOffset, byteLength } = message.block;
    const block = Buffer.from(buffer, byteOffset, byteLength);
    if (message.last) lines.last(block, message.length);
    else
      lines.take(block, message.length, () =>
        this.tell(
          { tell: "written", block },
          buffer instanceof ArrayBuffer ? [buffer] : [],
        ),
      );
  }

  #ended(how: string, cause?: unknown): void {
    if (this.#over !== undefined) return;
    const error = new Error(`worker ${this.#worker}${how}`, { cause });
    this.#over = error;
    this.active.inbound = this.active.outbound = 0;
    this.#opening.reject(error);
    for (const { fail } of this.#asked.values()) fail(error);
    this.#asked.clear();
    if (!this.#ending) this.#onLost(error);
  }
}
