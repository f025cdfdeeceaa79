/** The README's table of limits is what the code has: each limit of each part, its default, the option that sets it, the reason and the metric. */
import t from "tap";
import { withLimitOptions } from "../../src/cli/limit-options.ts";
import { REASONS } from "../../src/mesh/reasons.ts";
import { Command } from "commander";
import { LEAST_CHARACTERS, MOST_STEPS } from "../../src/core/expression.ts";
import { PAGE_CONNECTIONS } from "../../src/proxy/admin.ts";
import { BEGIN } from "../../src/proxy/eviction.ts";
import {
  CONNECTION,
  EXCHANGE,
  MESSAGES,
  DEFAULT_LIMITS as SIDECAR,
} from "../../src/proxy/limits.ts";
import { LEVELS } from "../../src/proxy/memory-pressure.ts";
import { makeMeters } from "../../src/proxy/meters.ts";
import { REPLAY_LIMIT, REPLAY_TOTAL } from "../../src/proxy/replay.ts";
import { FAILED_HANDSHAKES, OFFENCES } from "../../src/proxy/sources.ts";
import { MESH_DEFAULTS } from "../../src/resources/mesh.ts";
import { makeMetrics } from "../../src/telemetry/metrics.ts";
import { DEFAULT_LIMITS as HTTP1 } from "../../src/wire/http1/limits.ts";
import { resolveLimits as http2 } from "../../src/wire/http2/limits.ts";
import { SNIFF_TIMEOUT } from "../../src/wire/sniff.ts";
import {
  HANDSHAKE_TIMEOUT,
  HANDSHAKES_FROM_SOURCE,
  MAX_HANDSHAKES,
} from "../../src/wire/tls.ts";
import { README, tableAfter } from "../harness/readme.ts";

const HTTP2 = http2();

const count = (number: number): string => number.toLocaleString("en-US");
const octets = (number: number): string =>
  number % 1_048_576 === 0
    ? `${count(number / 1_048_576)} MiB`
    : number % 1024 === 0
      ? `${count(number / 1024)} KiB`
      : `${count(number)} octets`;
const time = (ms: number): string =>
  ms % 60_000 === 0 && ms > 60_000 ? `${ms / 60_000} min` : `${ms / 1000} s`;
const rate = (number: number): string => `${count(number)} a second`;
const budget = (of: {
  readonly burst: number;
  readonly rate: number;
}): string => `${count(of.burst)} at once, ${rate(of.rate)}`;
const share = (level: number): string =>
  `${Math.round((LEVELS[level]?.enter ?? 0) * 100)} %`;

/** By the limit's name in the table: its default there, and the fields that it is made of. */
const ROWS: readonly (readonly [
  name: string,
  says: string,
  fields: readonly string[],
])[] = [
  // of all callers together
  [
    "open connections",
    `${count(SIDECAR.connections)}, half of the file descriptors, or one for each ${octets(CONNECTION)} of memory`,
    ["connections"],
  ],
  [
    "of these, on one listener",
    count(SIDECAR.connectionsPerListener),
    ["connectionsPerListener"],
  ],
  [
    "of these, from one address",
    count(SIDECAR.connectionsPerAddress),
    ["connectionsPerAddress"],
  ],
  [
    "of these, of one identity",
    count(SIDECAR.connectionsPerIdentity),
    ["connectionsPerIdentity"],
  ],
  [
    "streams open over HTTP/2 from one address",
    count(SIDECAR.streamsPerAddress),
    ["streamsPerAddress"],
  ],
  ["TLS handshakes at one time", count(MAX_HANDSHAKES), []],
  [
    "TLS handshakes of these, from one address",
    count(HANDSHAKES_FROM_SOURCE),
    [],
  ],
  ["TLS handshakes of one address that fail", budget(FAILED_HANDSHAKES), []],
  ["connections ended for what a source sent", budget(OFFENCES), []],
  ["connections to pages", count(PAGE_CONNECTIONS), []],
  [
    "requests under way",
    `${count(SIDECAR.requests)}, or one for each ${octets(EXCHANGE)} of memory`,
    ["requests"],
  ],
  [
    "memory: first",
    `${share(1)} of what the container may use`,
    ["memoryBytes", "shortTimeout"],
  ],
  ["memory: then", share(2), []],
  ["memory: last", share(3), []],
  [
    "bytes of messages held",
    `${octets(SIDECAR.bufferedBytes)}, or one in ${MESSAGES} of memory`,
    ["bufferedBytes"],
  ],
  [
    "what stands still, where much is held",
    `from ${BEGIN.bytes * 100} % of these bytes on, or ${BEGIN.requests * 100} % of the requests`,
    [],
  ],
  [
    "request bodies kept for a repeat",
    `${octets(REPLAY_LIMIT)} each, ${octets(REPLAY_TOTAL)} in all`,
    [],
  ],
  // time
  ["TLS handshake", time(HANDSHAKE_TIMEOUT), []],
  ["first octets of a connection", time(SNIFF_TIMEOUT), []],
  [
    "head of a request",
    time(HTTP1.headTimeout),
    ["http1.headTimeout", "http2.headerTimeout"],
  ],
  [
    "body of a request",
    `${SIDECAR.bodyRate} octets a second, ${time(SIDECAR.sendGrace)} of grace`,
    ["bodyRate", "sendGrace"],
  ],
  [
    "answer that a stranger does not take",
    time(SIDECAR.takeTimeout),
    ["takeTimeout"],
  ],
  [
    "exchange in which nothing moves",
    time(MESH_DEFAULTS.defaults.timeouts.streamIdle),
    [],
  ],
  ["HTTP/1.1: idle connection", time(HTTP1.idleTimeout), ["http1.idleTimeout"]],
  [
    "HTTP/1.1: rest of a body after its answer",
    `${time(HTTP1.headTimeout)}, ${octets(HTTP1.drainBytes)}`,
    ["http1.drainBytes"],
  ],
  [
    "HTTP/1.1: after our FIN",
    time(HTTP1.lingerTimeout),
    ["http1.lingerTimeout"],
  ],
  [
    "HTTP/2: idle connection",
    `${time(HTTP2.idleTimeout)}, of the link ${time(SIDECAR.idleLink)}`,
    ["http2.idleTimeout", "idleLink"],
  ],
  [
    "HTTP/2: acknowledgement of SETTINGS",
    time(HTTP2.settingsTimeout),
    ["http2.settingsTimeout"],
  ],
  [
    "HTTP/2: frames that the peer does not read",
    time(HTTP2.writeTimeout),
    ["http2.writeTimeout"],
  ],
  [
    "HTTP/2: after our GOAWAY",
    time(HTTP2.closeTimeout),
    ["http2.closeTimeout"],
  ],
  // HTTP/1.1
  [
    "HTTP/1.1: head",
    `${octets(HTTP1.headBytes)}, ${HTTP1.headerCount} fields`,
    ["http1.headBytes", "http1.headerCount"],
  ],
  [
    "HTTP/1.1: request line",
    octets(HTTP1.requestLineBytes),
    ["http1.requestLineBytes"],
  ],
  [
    "HTTP/1.1: extensions of a chunk",
    octets(HTTP1.chunkExtensionBytes),
    ["http1.chunkExtensionBytes"],
  ],
  [
    "HTTP/1.1: chunks of less than 64 octets",
    rate(HTTP1.tinyChunksPerSecond),
    ["http1.tinyChunksPerSecond"],
  ],
  ["HTTP/1.1: trailers", octets(HTTP1.trailerBytes), ["http1.trailerBytes"]],
  [
    "HTTP/1.1: requests sent ahead",
    octets(HTTP1.pipelinedBytes),
    ["http1.pipelinedBytes"],
  ],
  [
    "text that a regular expression of a route sees",
    `${count(MOST_STEPS)} characters ÷ instructions of the expression; ${count(LEAST_CHARACTERS)} at least`,
    [],
  ],
  [
    "1xx before an answer",
    String(HTTP1.informationalResponses),
    ["http1.informationalResponses", "http2.informationalResponses"],
  ],
  // HTTP/2
  [
    "HTTP/2: streams of a connection",
    count(HTTP2.concurrentStreams),
    ["http2.concurrentStreams"],
  ],
  ["HTTP/2: resets", rate(HTTP2.resetsPerSecond), ["http2.resetsPerSecond"]],
  [
    "HTTP/2: requests that are refused",
    rate(HTTP2.malformedPerSecond),
    ["http2.malformedPerSecond"],
  ],
  [
    "HTTP/2: SETTINGS",
    rate(HTTP2.settingsPerSecond),
    ["http2.settingsPerSecond"],
  ],
  ["HTTP/2: PING", rate(HTTP2.pingsPerSecond), ["http2.pingsPerSecond"]],
  [
    "HTTP/2: empty DATA",
    rate(HTTP2.emptyFramesPerSecond),
    ["http2.emptyFramesPerSecond"],
  ],
  [
    "HTTP/2: DATA of less than 64 octets",
    rate(HTTP2.tinyFramesPerSecond),
    ["http2.tinyFramesPerSecond"],
  ],
  [
    "HTTP/2: WINDOW_UPDATE of less than 256 octets",
    rate(HTTP2.tinyUpdatesPerSecond),
    ["http2.tinyUpdatesPerSecond"],
  ],
  [
    "HTTP/2: frames without effect",
    rate(HTTP2.strayFramesPerSecond),
    ["http2.strayFramesPerSecond"],
  ],
  [
    "HTTP/2: field block",
    `${octets(HTTP2.headerBlockBytes)}, ${HTTP2.continuations} CONTINUATION`,
    ["http2.headerBlockBytes", "http2.continuations"],
  ],
  [
    "HTTP/2: header list",
    `${octets(HTTP2.headerListBytes)}, ${HTTP2.headerFields} fields`,
    ["http2.headerListBytes", "http2.headerFields"],
  ],
  [
    "HTTP/2: table of header compression",
    octets(HTTP2.headerTableBytes),
    ["http2.headerTableBytes"],
  ],
  ["HTTP/2: frame", octets(HTTP2.frameBytes), ["http2.frameBytes"]],
  [
    "HTTP/2: window of a stream",
    `${octets(HTTP2.streamWindow)}, of a quick one ${octets(HTTP2.streamWindowMax)}`,
    ["http2.streamWindow", "http2.streamWindowMax"],
  ],
  [
    "HTTP/2: windows of a connection",
    `${octets(HTTP2.connectionWindow)}; its streams' may grow by ${octets(HTTP2.windowGrowth)}`,
    ["http2.connectionWindow", "http2.windowGrowth"],
  ],
  [
    "HTTP/2: held of paused streams",
    octets(HTTP2.heldBytes),
    ["http2.heldBytes"],
  ],
  [
    "HTTP/2: answer that waits, a stream",
    octets(HTTP2.streamQueueBytes),
    ["http2.streamQueueBytes"],
  ],
  [
    "HTTP/2: frames that wait, a connection",
    `${octets(HTTP2.outputBytes)} of DATA, ${octets(HTTP2.outputBytesMax)} of all`,
    ["http2.outputBytes", "http2.outputBytesMax"],
  ],
];

const TABLE = tableAfter(README, "## Limits\n");

void t.test("names and defaults are those of the code", (t) => {
  t.strictSame(
    TABLE.map(([name, says]) => [name, says]),
    ROWS.map(([name, says]) => [name, says]),
  );
  t.end();
});

void t.test("every limit of the code has its row", (t) => {
  const told = new Set(ROWS.flatMap(([, , fields]) => fields));
  for (const [prefix, limits] of [
    ["", SIDECAR],
    ["http1.", HTTP1],
    ["http2.", HTTP2],
  ] as const)
    for (const field of Object.keys(limits))
      t.ok(told.has(`${prefix}${field}`), `${prefix}${field}`);
  t.end();
});

void t.test("the options are those of the command", (t) => {
  const named = TABLE.flatMap(([, , option = ""]) =>
    [...option.matchAll(/`--([a-z-]+)`/g)].map(([, name]) => name),
  );
  const real = withLimitOptions(new Command()).options.map((option) =>
    option.name(),
  );
  t.strictSame(named.sort(), real.sort());
  t.end();
});

void t.test("reasons and metrics are known", (t) => {
  const registry = makeMetrics({ maxSeries: 100 });
  makeMeters(registry);
  const metrics = registry.render();
  for (const [name, , , , reason = "", metric = ""] of TABLE) {
    for (const [, code = ""] of reason.matchAll(/`([A-Z_]+)`/g))
      t.ok(Object.hasOwn(REASONS, code), `${name}: ${code}`);
    for (const [, family = ""] of metric.matchAll(/`(wherry_[a-z_]+)/g))
      t.match(metrics, `# HELP ${family} `, `${name}: ${family}`);
  }
  t.end();
});
