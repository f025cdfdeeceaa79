/** Where a thread of a sidecar begins: a worker that serves by what the main thread gives it, and answers what it is asked. */
import { parentPort, workerData } from "node:worker_threads";
import { LOOK_AGAIN, type SharedConfig } from "../../agent/agent.ts";
import { systemClock, type Clock } from "../../core/clock.ts";
import { joinSharedState } from "../../core/shared/shared-state.ts";
import { messageOf } from "../../core/errors.ts";
import { makeLogger, type Logger } from "../../core/log.ts";
import { inSlices, pauses } from "../../core/slices.ts";
import { type Snapshot } from "../../policy/snapshot.ts";
import { compileDifference } from "../../policy/compile/compile.ts";
import { HandedListeners } from "../../proxy/downstream/handed-listeners.ts";
import { makeAccessLog, type AccessLog } from "../../telemetry/access-log.ts";
import { makeMetrics, type MetricsRegistry } from "../../telemetry/metrics.ts";
import type { Resource } from "../../resources/envelope.ts";
import { clustersView, overloadView, workerView } from "./views.ts";
import type {
  Answers,
  FromThread,
  Question,
  ThreadData,
  ToThread,
} from "./protocol.ts";
import {
  remoteLines,
  remoteSpans,
  type Post,
  type RemoteLines,
  type RemoteSpans,
} from "./remote-sinks.ts";
import { RemoteLookups } from "./remote-lookups.ts";
import { MAX_SERIES, startWorker, type ProxyWorker } from "./worker.ts";

/** Milliseconds between two reports of what is in flight, once that is of interest. */
const REPORT = 20;

const port = parentPort;
if (port === null) throw new Error("this file is the beginning of a thread");
const post: Post = (message: FromThread, transfer = []) =>
  port.postMessage(message, transfer);
async function run(data: ThreadData): Promise<void> {
  const { sharedState: shared, tracing } = data;
  const clock = systemClock;
  const logger = makeLogger({
    level: data.log.level,
    bindings: { ...data.log.bindings, worker: String(data.worker) },
  });
  const lines = remoteLines(post);
  const spans = remoteSpans(post, clock);
  const accessLog = makeAccessLog({
    mode: data.settings.accessLog,
    clock,
    sink: lines,
    share: 1 / shared.workers,
  });
  const registry = makeMetrics({ maxSeries: MAX_SERIES });
  const worker = await startWorker({
    clock,
    handed: new HandedListeners(data.handed),
    sharedState: joinSharedState(data.worker, shared),
    logger,
    registry,
    accessLog,
    tracing:
      tracing === undefined ? undefined : { ...tracing, sink: spans.sink },
    settings: data.settings,
  });
  const lookups =
    data.settings.scope === "all"
      ? undefined
      : new RemoteLookups({ clock, post, inUse: () => worker.servicesInUse() });
  worker.lookups = lookups;
  const parts = {
    ...{ clock, logger, lines, spans },
    ...{ accessLog, registry, worker, lookups },
  };
  const thread = new WorkerThread(data.worker, parts);
  clock.every(LOOK_AGAIN, () => {
    const sightings = worker.sightings();
    if (sightings.length > 0) post({ kind: "sighted", sightings });
    const observed = worker.observed();
    if (observed.calls.length + observed.dropped > 0)
      post({ kind: "observed", observed });
    const outside = worker.outside();
    if (outside.calls.length + outside.dropped > 0)
      post({ kind: "outside", outside });
  });
  const answer = async (
    question: Question & { number: number },
  ): Promise<void> => {
    const value = await thread.answer(question);
    post({ kind: "answer", number: question.number, value });
  };
  port?.on("message", (message: ToThread) => {
    if ("ask" in message)
      answer(message).catch((thrown: unknown) =>
        // What does not answer is lost: the main thread hears so, and ends in order.
        setImmediate(() => {
          throw thrown;
        }),
      );
    else thread.hear(message);
  });
  post({ kind: "open" });
}

interface Parts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly lines: RemoteLines;
  readonly spans: RemoteSpans;
  readonly accessLog: AccessLog;
  readonly registry: MetricsRegistry;
  readonly worker: ProxyWorker;
  readonly lookups: RemoteLookups | undefined;
}

/** What the main thread says and asks, and what the worker does of it. */
class WorkerThread {
  readonly #number: number;
  readonly #parts: Parts;
  /** What the next compile changes. */
  #staged: Resource[] = [];
  /** Compiled, and not in force yet. */
  #compiled: Snapshot | undefined;
  #stopReporting: (() => void) | undefined;

  constructor(number: number, parts: Parts) {
    this.#number = number;
    this.#parts = parts;
  }

  /** At once, but for a config: that is compiled between requests. */
  answer(
    question: Question,
  ): Answers[Question["ask"]] | Promise<Answers["compile" | "begin"]> {
    const { worker, clock, registry } = this.#parts;
    switch (question.ask) {
      case "stage":
        for (const each of question.changed) this.#staged.push(each);
        return undefined;
      case "compile":
        return this.#compile(question.config);
      case "swap":
        if (this.#compiled !== undefined) worker.apply(this.#compiled);
        this.#parts.lookups?.swapped();
        this.#compiled = undefined;
        return undefined;
      case "metrics":
        return registry.render();
      case "clusters":
        return clustersView(worker.clusters, worker.pools, clock);
      case "overload":
        return overloadView(worker.concurrencyLimiters.all());
      case "worker":
        return workerView(this.#number, worker.meters, worker.pools);
      case "localConnections":
        return worker.localConnections();
      case "begin":
        return worker.begin().then(() => undefined);
      case "sockets":
        return worker.sockets;
      case "virtual":
        for (const { host, address } of question.names)
          worker.names?.set(host, address);
        return undefined;
      case "end":
        this.#end();
        return registry.render();
    }
  }

  hear(message: Extract<ToThread, { readonly tell: string }>): void {
    const { worker, logger, clock, spans, lines } = this.#parts;
    switch (message.tell) {
      case "credentials":
        worker.credentials.set(message.credentials);
        return;
      case "ownPorts":
        for (const own of message.ports) worker.ownPorts.add(own);
        return;
      case "level":
        logger.level = message.level;
        return;
      case "refuse":
        worker.refuse(message.side);
        this.#stopReporting ??= clock.every(REPORT, () => this.#report());
        return;
      case "retire":
        worker.retire();
        this.#stopReporting ??= clock.every(REPORT, () => this.#report());
        return;
      case "depart":
        worker.depart();
        return;
      case "looked":
        this.#parts.lookups?.looked(message.number, message.looked);
        return;
      case "forget":
        this.#parts.lookups?.forget(message.forgotten);
        return;
      case "spansTaken":
        spans.taken();
        return;
      case "written":
        lines.written(message.block);
    }
  }

  /** Why the config cannot be compiled; undefined where it was. */
  async #compile({
    difference,
    self,
    version,
  }: SharedConfig): Promise<string | undefined> {
    const { worker, clock } = this.#parts;
    const { removed } = difference;
    const changed = [...this.#staged, ...difference.changed];
    this.#staged = [];
    try {
      const { snapshot } = await inSlices(
        compileDifference({ changed, removed }, self, version, {
          previous: worker.snapshot.value,
          // By the main thread, and what came in a message is nobody else's.
          validated: true,
          owned: true,
        }),
        pauses(clock),
      );
      this.#compiled = snapshot;
      return undefined;
    } catch (thrown) {
      return messageOf(thrown);
    }
  }

  #report(): void {
    const { worker } = this.#parts;
    const active = {
      inbound: worker.active("inbound"),
      outbound: worker.active("outbound"),
    };
    post({ kind: "active", active });
  }

  #end(): void {
    const { worker, accessLog, spans, logger } = this.#parts;
    this.#stopReporting?.();
    worker.destroy();
    this.#parts.lookups?.close();
    accessLog.close();
    spans.flush();
    if (spans.dropped > 0)
      logger.warn({ dropped: spans.dropped }, "spans found no room");
  }
}

try {
  await run(workerData as ThreadData);
} catch (thrown) {
  post({ kind: "failed", message: messageOf(thrown) });
}
