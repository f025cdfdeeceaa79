/** The main thread's side of the other workers: starts them, hands them what they serve by, asks them, and ends them. */
import { Worker } from "node:worker_threads";
import type { SharedConfig, Peers } from "../../agent/agent.ts";
import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { Credentials } from "../../identity/credentials.ts";
import type { LineSink } from "../../telemetry/line-file.ts";
import type { SpanSink } from "../../telemetry/tracing.ts";
import type { ClustersView, OverloadView, WorkerView } from "./views.ts";
import type {
  Answers,
  FromThread,
  Question,
  ThreadData,
  ToThread,
} from "./protocol.ts";
import type { Side } from "./worker.ts";

export interface WorkerPoolOptions {
  readonly clock: Clock;
  /** Besides the first worker, which is the main thread's own. */
  readonly threads: number;
  readonly data: Omit<ThreadData, "worker">;
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
  level(level: string): void;
  metrics(): Promise<readonly string[]>;
  clusters(): Promise<readonly ClustersView[]>;
  overload(): Promise<readonly OverloadView[]>;
  workers(): Promise<readonly WorkerView[]>;
  refuse(side: Side): void;
  /** What is under way on that side, once it was refused. */
  active(side: Side): number;
  /** Ends all of them; what they had left to tell is told by then. */
  end(): Promise<void>;
}

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
  const members = Array.from({ length: options.threads }, (_, index) =>
    startMember(options, index + 1, onLost),
  );
  const all = <T>(run: (member: Member) => Promise<T>): Promise<T[]> =>
    Promise.all(members.map(run));
  const open = all((member) => member.open).then(() => undefined);
  // Whoever waits for it is told; where nobody does yet, that is no defect.
  open.catch(() => undefined);
  const tell = (message: ToThread): void => {
    for (const member of members) member.tell(message);
  };

  return {
    open,
    async compile(config: SharedConfig) {
      try {
        await open;
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
    level: (level) => tell({ tell: "level", level }),
    metrics: () => all((member) => member.ask({ ask: "metrics" })),
    clusters: () => all((member) => member.ask({ ask: "clusters" })),
    overload: () => all((member) => member.ask({ ask: "overload" })),
    workers: () => all((member) => member.ask({ ask: "worker" })),
    refuse(side) {
      for (const member of members) member.refuse(side);
    },
    active: (side) =>
      members.reduce((sum, member) => sum + member.active[side], 0),
    async end() {
      await all((member) => member.end());
    },
  };
}

interface Member {
  readonly open: Promise<undefined>;
  readonly active: Readonly<Record<Side, number>>;
  ask<Q extends Question>(question: Q): Promise<Answers[Q["ask"]]>;
  tell(message: ToThread, transfer?: ArrayBuffer[]): void;
  refuse(side: Side): void;
  end(): Promise<void>;
}

interface Asked {
  readonly answer: (value: unknown) => void;
  readonly fail: (error: Error) => void;
}

function startMember(
  options: WorkerPoolOptions,
  worker: number,
  onLost: (error: Error) => void,
): Member {
  const { clock, lines, spans } = options;
  const workerData: ThreadData = { ...options.data, worker };
  const thread = new Worker(ENTRY, { name: `worker ${worker}`, workerData });
  const asked = new Map<number, Asked>();
  const active = { inbound: 0, outbound: 0 };
  let numbers = 0;
  let ending = false;
  let over: Error | undefined;
  const opening = Promise.withResolvers<undefined>();

  const tell: Member["tell"] = (message, transfer = []) => {
    if (over === undefined) thread.postMessage(message, transfer);
  };

  const ask = <Q extends Question>(question: Q): Promise<Answers[Q["ask"]]> =>
    new Promise((resolve, reject) => {
      if (over !== undefined) {
        reject(over);
        return;
      }
      numbers += 1;
      asked.set(numbers, {
        // The thread answers a question as `Answers` says.
        answer: (value) => resolve(value as Answers[Q["ask"]]),
        fail: reject,
      });
      thread.postMessage({ ...question, number: numbers });
    });

  const ended = (error: Error): void => {
    if (over !== undefined) return;
    over = error;
    active.inbound = active.outbound = 0;
    opening.reject(error);
    for (const { fail } of asked.values()) fail(error);
    asked.clear();
    if (!ending) onLost(error);
  };

  thread.on("message", (message: FromThread) => {
    switch (message.kind) {
      case "open":
        opening.resolve(undefined);
        return;
      case "failed":
        ended(new Error(`worker ${worker}: ${message.message}`));
        return;
      case "answer":
        asked.get(message.number)?.answer(message.value);
        asked.delete(message.number);
        return;
      case "active":
        active.inbound = message.active.inbound;
        active.outbound = message.active.outbound;
        return;
      case "spans":
        for (const span of message.spans) spans(span);
        tell({ tell: "spansTaken" });
        return;
      case "lines": {
        const { buffer, byteOffset, byteLength } = message.block;
        const block = Buffer.from(buffer, byteOffset, byteLength);
        if (message.last) lines.last(block, message.length);
        else
          lines.take(block, message.length, () =>
            tell(
              { tell: "written", block },
              buffer instanceof ArrayBuffer ? [buffer] : [],
            ),
          );
      }
    }
  });
  thread.on("error", (error) =>
    ended(new Error(`worker ${worker}: ${messageOf(error)}`, { cause: error })),
  );
  thread.on("exit", (code) =>
    ended(new Error(`worker ${worker} ended with code ${code}`)),
  );

  return {
    open: opening.promise,
    active,
    ask,
    tell,
    refuse(side) {
      // Until it reports, nobody knows.
      if (over === undefined) active[side] = 1;
      tell({ tell: "refuse", side });
    },
    async end() {
      ending = true;
      if (over === undefined) {
        const late = Promise.withResolvers<undefined>();
        const cancel = clock.after(END_WITHIN, () => late.resolve(undefined));
        await Promise.race([
          ask({ ask: "end" }).catch(() => undefined),
          late.promise,
        ]);
        cancel();
      }
      await thread.terminate();
    },
  };
}
