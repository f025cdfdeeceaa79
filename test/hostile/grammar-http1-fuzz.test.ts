/**
 * The HTTP/1 codec against Node's own parser (llhttp): what it refuses the codec refuses; what the codec takes, both read alike.
 * A failure prints the seed, and the shortest octets that still show it: WHERRY_FUZZ_SEED makes the cases of that run, WHERRY_FUZZ_CASES more of them.
 */
import { randomInt } from "node:crypto";
import fc from "fast-check";
import t, { type Test } from "tap";
import { drawn } from "../support/drawn.ts";
import {
  requestCase,
  responseCase,
  type Case,
} from "../support/hostile/grammar-http1-messages.ts";
import {
  codecRequests,
  codecResponse,
} from "../support/hostile/grammar-http1-codec.ts";
import {
  nodeRequests,
  nodeResponse,
} from "../support/hostile/grammar-http1-node.ts";
import {
  difference,
  MemorySocket,
  turn,
  type Reading,
} from "../support/hostile/grammar-http1-readings.ts";
import {
  STRICTER_REQUESTS,
  STRICTER_RESPONSES,
  type Stricter,
} from "../support/hostile/grammar-http1-stricter.ts";

/** Another one in each run, so that runs add up. */
const SEED = Number(process.env["WHERRY_FUZZ_SEED"] ?? randomInt(2 ** 31));
const CASES = drawn("WHERRY_FUZZ_CASES", 6000, 100_000);

type Reader = (socket: MemorySocket) => () => Reading;

/** What both make of the same octets, in the same reads, and of the end of the connection behind them. */
async function readings(
  ours: Reader,
  nodes: Reader,
  { octets, cuts }: Case,
): Promise<readonly [Reading, Reading]> {
  const sockets = [new MemorySocket(), new MemorySocket()] as const;
  const results = [ours(sockets[0]), nodes(sockets[1])] as const;
  // A client's request goes out first.
  await turn();
  const bytes = Buffer.from(octets, "latin1");
  let from = 0;
  for (const to of [...cuts, bytes.length]) {
    // A copy for each: the codec may move what it was given.
    if (to > from)
      for (const socket of sockets)
        socket.receive(Buffer.from(bytes.subarray(from, to)));
    from = to;
  }
  await turn();
  await turn();
  for (const socket of sockets) socket.finish();
  await turn();
  const read = [results[0](), results[1]()] as const;
  for (const socket of sockets) socket.destroy();
  return read;
}

interface Tally {
  /** Both read all of it. */
  accepted: number;
  /** Both refused. */
  refused: number;
  /** The codec alone refused, in these words. */
  readonly stricter: Map<string, number>;
}

async function fuzz<T>(
  t: Test,
  cases: fc.Arbitrary<T>,
  read: (one: T) => Promise<readonly [Reading, Reading]>,
  stricter: readonly Stricter[],
): Promise<void> {
  const known = new Set(stricter.map(({ refusal }) => refusal));
  const tally: Tally = { accepted: 0, refused: 0, stricter: new Map() };
  t.comment(`seed ${SEED}, ${CASES} cases`);
  await fc.assert(
    fc.asyncProperty(cases, async (one) => {
      const [ours, nodes] = await read(one);
      const found = difference(ours, nodes, (refusal) => known.has(refusal));
      if (found !== undefined) throw new Error(found);
      if (ours.refused === undefined) tally.accepted += 1;
      else if (nodes.refused !== undefined) tally.refused += 1;
      else
        tally.stricter.set(
          ours.refused,
          (tally.stricter.get(ours.refused) ?? 0) + 1,
        );
    }),
    { seed: SEED, numRuns: CASES, endOnFailure: false },
  );
  t.comment(
    `${tally.accepted} read alike, ${tally.refused} refused by both, ` +
      `${[...tally.stricter.values()].reduce((a, b) => a + b, 0)} by the codec alone`,
  );
  // A generator that makes nothing but rubbish, or nothing but good messages, proves nothing.
  for (const share of [tally.accepted, tally.refused])
    t.ok(share > CASES / 5, `${share} of ${CASES}`);
}

const requests = (one: Case): Promise<readonly [Reading, Reading]> =>
  readings(codecRequests, nodeRequests, one);

const responses = (
  method: string,
  one: Case,
): Promise<readonly [Reading, Reading]> =>
  readings(
    (socket) => codecResponse(socket, method),
    (socket) => nodeResponse(socket, method),
    one,
  );

const TIMEOUT = { timeout: 300_000 };

void t.test("requests: no difference to Node's parser", TIMEOUT, async (t) => {
  await fuzz(t, requestCase, requests, STRICTER_REQUESTS);
});

void t.test("responses: no difference to Node's parser", TIMEOUT, async (t) => {
  await fuzz(
    t,
    fc.tuple(fc.constantFrom("GET", "GET", "POST", "HEAD"), responseCase),
    ([method, one]) => responses(method, one),
    STRICTER_RESPONSES,
  );
});

/** "|" is where it is cut. */
function caseOf(text: string): Case {
  const cut = text.indexOf("|");
  return {
    octets: text.replace("|", ""),
    cuts: cut === -1 ? [] : [cut],
  };
}

void t.test("where the codec is stricter, Node does take it", async (t) => {
  for (const { refusal, octets } of STRICTER_REQUESTS) {
    const [ours, nodes] = await requests(caseOf(octets));
    t.equal(ours.refused, refusal);
    t.equal(nodes.refused, undefined, refusal);
    t.equal(nodes.messages.length, 1, `${refusal}: a request of Node's`);
  }
  for (const { refusal, octets } of STRICTER_RESPONSES) {
    const [ours, nodes] = await responses("GET", caseOf(octets));
    t.equal(ours.refused, refusal);
    t.ok(nodes.messages.length > 0 || nodes.refused === undefined, refusal);
  }
});
