/** Where a thread of a sidecar begins: a worker that serves by what the main thread gives it, and answers what it is asked. */
import { parentPort, workerData } from "node:worker_threads";
import type { SharedConfig } from "../../agent/agent.ts";
import { systemClock } from "../../core/clock.ts";
import { joinSharedState } from "../../core/shared/shared-state.ts";
import { messageOf } from "../../core/errors.ts";
import { makeLogger } from "../../core/log.ts";
import { type Snapshot } from "../../policy/snapshot.ts";
import { compileSnapshot } from "../../policy/compile/compile.ts";
import { makeAccessLog } from "../../telemetry/access-log.ts";
import { makeMetrics } from "../../telemetry/metrics.ts";
import { clustersView, overloadView, workerView } from "./views.ts";
import type {
  Answers,
  FromThread,
  Question,
  ThreadData,
  ToThread,
} from "./protocol.ts";
import { remoteLines, remoteSpans, type Post } from "./remote-sinks.ts";
import { MAX_SERIES, startWorker } from "./worker.ts";

/** Milliseconds between two reports of what is under way, once that is of interest. */
const REPORT = 20;

const port = parentPort;
if (port === null) throw new Error("this file is the beginning of a thread");
const post: Post = (message: FromThread, transfer = []) =>
  port.postMessage(message, transfer);
try {
  await run(workerData as ThreadData);
} catch (thrown) {
  post({ kind: "failed", message: messageOf(thrown) });
}

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
    sharedState: joinSharedState(data.worker, shared),
    logger,
    registry,
    accessLog,
    tracing:
      tracing === undefined ? undefined : { ...tracing, sink: spans.sink },
    settings: data.settings,
  });
  let compiled: Snapshot | undefined;
  let stopReporting: (() => void) | undefined;

  const compile = ({
    resources,
    self,
    version,
  }: SharedConfig): string | undefined => {
    try {
      compiled = compileSnapshot(resources, self, version, {
        previous: worker.snapshot.value,
        // By the main thread.
        validated: true,
      });
      return undefined;
    } catch (thrown) {
      return messageOf(thrown);
    }
  };

  const answer = (question: Question): Answers[Question["ask"]] => {
    switch (question.ask) {
      case "compile":
        return compile(question.config);
      case "swap":
        if (compiled !== undefined) worker.apply(compiled);
        compiled = undefined;
        return undefined;
      case "metrics":
        return registry.render();
      case "clusters":
        return clustersView(worker.clusters, worker.pools, clock);
      case "overload":
        return overloadView(worker.concurrencyLimiters.all());
      case "worker":
        return workerView(data.worker, worker.meters, worker.pools);
      case "end":
        stopReporting?.();
        worker.destroy();
        accessLog.close();
        spans.flush();
        if (spans.dropped > 0)
          logger.warn({ dropped: spans.dropped }, "spans found no room");
        return undefined;
    }
  };

  const report = (): void => {
    const active = {
      inbound: worker.active("inbound"),
      outbound: worker.active("outbound"),
    };
    post({ kind: "active", active });
  };

  port?.on("message", (message: ToThread) => {
    if ("ask" in message) {
      const value = answer(message);
      post({ kind: "answer", number: message.number, value });
      return;
    }
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
        stopReporting ??= clock.every(REPORT, report);
        return;
      case "spansTaken":
        spans.taken();
        return;
      case "written":
        lines.written(message.block);
    }
  });
  post({ kind: "open" });
}
