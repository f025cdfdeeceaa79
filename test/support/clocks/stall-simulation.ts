/** Calls to two instances of which one stops responding, in simulated time: the balancer, the detector and the watch are those of the proxy. */
import { Deadlines } from "../../../src/core/deadlines.ts";
import type { OpenCall } from "../../../src/policy/balance/open-calls.ts";
import {
  makeBalancer,
  type Balancer,
  type BalancedEndpoint,
  type EndpointPick,
} from "../../../src/policy/balance/picker.ts";
import type { CheckResult } from "../../../src/policy/health.ts";
import {
  makeOutlierDetector,
  type EjectionReason,
  type OutlierDetector,
} from "../../../src/policy/outlier.ts";
import { StallTicks } from "../../../src/proxy/upstream/cluster/stall-ticks.ts";
import { StallWatch } from "../../../src/proxy/upstream/cluster/stall-watch.ts";
import type { LoadBalancer } from "../../../src/resources/traffic-policy/load-balancing.ts";
import { TRAFFIC_DEFAULTS } from "../../../src/resources/traffic-policy/settings.ts";
import {
  exponential,
  lognormal,
  makeEngine,
  type Engine,
} from "../../../bench/simulate/engine.ts";
import { seededRandom } from "./fake-clock.ts";

export interface SimulatedStall {
  readonly algorithm: LoadBalancer;
  /** "hang": no response. "drip": its head, and no end. "pauses": now and then nothing for 0.4 s. */
  readonly fault: "hang" | "drip" | "pauses" | "none";
  /** Requests may be repeated: "mixed" is every other one. */
  readonly mix: "GET" | "POST" | "mixed";
  readonly seed: number;
  /** Instances besides the one that stops. */
  readonly siblings?: number;
  /** Calls a second; 200 unless given. */
  readonly rate?: number;
  /** One in so many requests takes 3 s, wherever it goes. */
  readonly slowOneIn?: number;
  /** The calls are gRPC without a deadline, and one in so many is a stream: every other one of these is silent, the others say something and stay open. */
  readonly streamOneIn?: number;
}

export interface SimulatedCalls {
  readonly calls: number;
  /** When those began that were not served within 5 s, in milliseconds since the fault. */
  readonly failed: readonly number[];
  /** Milliseconds that 99 % took, in the whole run and before the fault. */
  readonly p99: number;
  readonly quietP99: number;
  /** Share of the calls of the last 5 s that the instance served. */
  readonly share: number;
  readonly ejections: readonly string[];
  /** Requests of our own. */
  readonly asked: number;
}

/** Milliseconds: mean of what a response takes, and the deviation of its logarithm. */
const MEAN = 3;
const SIGMA = 0.6;
/** Calls a second. */
const RATE = 200;
const FROM = 10_000;
const TO = 40_000;
const END = 60_000;
const PATIENCE = 5000;
const SLOW = 3000;
const PAUSE = 400;
const PAUSE_EVERY = 3000;

const UNARY = "/shop.Orders/Get";
const WATCH = "/shop.Orders/Watch";
/** Of no bytes. */
const MESSAGE = Buffer.alloc(5);

interface Instance extends BalancedEndpoint {
  readonly index: number;
}

/** What becomes of one call. */
interface Call {
  readonly at: number;
  readonly slow: boolean;
  readonly stream: boolean;
  served: boolean;
  took: number;
  by: number;
}

/** One attempt of a call: an entry in the endpoint's list of open calls, as the proxy's is. */
class SimulatedAttempt implements OpenCall {
  sentAt = 0;
  answering = false;
  bytes = 0;
  listed = false;
  older: OpenCall | undefined;
  younger: OpenCall | undefined;
  over = false;
  readonly pick: EndpointPick<Instance>;
  readonly onStall: () => void;

  constructor(pick: EndpointPick<Instance>, onStall: () => void) {
    this.pick = pick;
    this.onStall = onStall;
  }

  stalled(): void {
    this.onStall();
  }

  /** As `EndpointTarget.done` has it. */
  end(complete: boolean, latency: number | undefined, now: number): void {
    if (this.over) return;
    this.over = true;
    this.pick.load.calls.over(this, complete, now);
    this.pick.done(latency, now);
  }
}

export class StallSimulation {
  readonly #options: SimulatedStall;
  readonly #engine: Engine;
  readonly #demands: () => number;
  readonly #detector: OutlierDetector;
  readonly #balancer: Balancer<Instance>;
  readonly #watch: StallWatch;
  readonly #ejections: string[] = [];
  readonly #calls: Call[] = [];
  #asked = 0;
  #streams = 0;

  constructor(options: SimulatedStall) {
    const { algorithm, seed, siblings = 1 } = options;
    this.#options = options;
    this.#engine = makeEngine(seed);
    this.#demands = seededRandom(seed + 1);
    const random = (): number => this.#engine.random();
    const instances = Array.from({ length: 1 + siblings }, (_, index) => ({
      key: `i${index}`,
      index,
      weight: 1,
      ready: true,
      distance: 0,
    }));
    const keys = instances.map(({ key }) => key);
    const detector = makeOutlierDetector(random);
    this.#detector = detector;
    detector.update(keys, TRAFFIC_DEFAULTS.outlierDetection);
    this.#watch = new StallWatch({
      clock: this.#engine,
      ticks: new StallTicks(new Deadlines(this.#engine)),
      detector,
      callsOf: (key) => this.#balancer.loadOf(key)?.calls,
      asker: { ask: (key) => this.#ask(key), responds: true },
      eject: (key, reason, evidence) => this.#eject(key, reason, evidence),
    });
    this.#watch.update(keys.map((key) => ({ key, ready: true })));
    this.#balancer = makeBalancer<Instance>(random, {
      get version() {
        return detector.version;
      },
      until: (key) => (detector.isHeld(key) ? Infinity : detector.until(key)),
      onProbation: (key) => detector.onProbation(key),
      isOffered: (key) => this.#watch.isOffered(key),
    });
    this.#balancer.update(
      instances,
      {
        loadBalancer: { simple: algorithm },
        minHealthPercent: TRAFFIC_DEFAULTS.outlierDetection.minHealthPercent,
      },
      0,
    );
  }

  /** 60 s at 200 calls a second: 10 s quiet, 30 s of the fault, 20 s after it. */
  async run(): Promise<SimulatedCalls> {
    const { seed, rate = RATE } = this.#options;
    const arrivals = seededRandom(seed + 2);
    const engine = this.#engine;
    const next = (): void => {
      engine.after(exponential(arrivals, 1000 / rate), () => {
        this.#call();
        next();
      });
    };
    next();
    for (let at = 0; at <= END; at += 5) {
      engine.run(at);
      // What our own requests bring comes by promises.
      for (let turn = 0; turn < 4; turn += 1) await Promise.resolve();
    }
    return this.#result();
  }

  get #isFaulty(): boolean {
    const { fault } = this.#options;
    const now = this.#engine.now();
    return now >= FROM && now < TO && (fault === "hang" || fault === "drip");
  }

  /** Milliseconds that a request takes at the instance. */
  #demand(index: number, slow: boolean): number {
    const { fault } = this.#options;
    const demand = slow ? SLOW : lognormal(this.#demands, MEAN, SIGMA);
    const sincePause = this.#engine.now() % PAUSE_EVERY;
    const left =
      fault === "pauses" && index === 0 ? Math.max(0, PAUSE - sincePause) : 0;
    return demand + left;
  }

  #ask(key: string): Promise<CheckResult> {
    this.#asked += 1;
    return new Promise((resolve) => {
      const index = key === "i0" ? 0 : 1;
      this.#engine.after(this.#demand(index, false), () => {
        if (key !== "i0" || !this.#isFaulty) resolve({ kind: "healthy" });
      });
    });
  }

  #eject(key: string, reason: EjectionReason, evidence: string): void {
    const now = this.#engine.now();
    const ejection = this.#detector.eject(key, reason, evidence, now);
    if (ejection === undefined) return;
    this.#ejections.push(`${Math.round(now - FROM)} ${reason}: ${evidence}`);
    this.#watch.ejected(key, now);
  }

  #call(): void {
    const { mix, slowOneIn = Infinity, streamOneIn = Infinity } = this.#options;
    const call: Call = {
      at: this.#engine.now(),
      slow: this.#calls.length % slowOneIn === slowOneIn - 1,
      stream: this.#calls.length % streamOneIn === streamOneIn - 1,
      served: false,
      took: Infinity,
      by: -1,
    };
    this.#calls.push(call);
    if (call.stream) this.#streams += 1;
    const repeatable =
      mix === "GET" || (mix === "mixed" && this.#calls.length % 2 === 0);
    this.#attempt(call, repeatable, new Set());
  }

  #attempt(call: Call, repeatable: boolean, tried: ReadonlySet<string>): void {
    const calls = this.#watch;
    const began = this.#engine.now();
    calls.saw(began);
    const pick = this.#balancer.pick(began, tried, undefined, repeatable);
    if (pick.kind === "none") return;
    let helped = false;
    const attempt = new SimulatedAttempt(pick, () => {
      if (!repeatable || helped || tried.size > 0) return;
      helped = true;
      this.#attempt(call, true, new Set([pick.endpoint.key]));
    });
    const method = this.#methodOf(call);
    if (method === undefined || calls.methods.isSure(method))
      calls.sent(pick.load.calls, attempt);
    // The first response is taken, and the other attempt broken off.
    this.#engine.after(PATIENCE, () =>
      attempt.end(false, undefined, this.#engine.now()),
    );
    this.#respond(call, attempt, began);
  }

  /** Undefined where nothing is gRPC. */
  #methodOf({ stream }: Call): string | undefined {
    if (this.#options.streamOneIn === undefined) return undefined;
    return stream ? WATCH : UNARY;
  }

  #respond(call: Call, attempt: SimulatedAttempt, began: number): void {
    const { index } = attempt.pick.endpoint;
    const { methods } = this.#watch;
    const method = this.#methodOf(call);
    this.#engine.after(this.#demand(index, call.slow), () => {
      const now = this.#engine.now();
      const faulty = index === 0 && this.#isFaulty;
      if (attempt.over || (faulty && this.#options.fault === "hang")) return;
      if (call.stream && this.#streams % 2 === 0) return;
      attempt.pick.load.calls.headed(attempt, true, now);
      const response =
        method === undefined ? undefined : methods.response(method, now);
      response?.received(MESSAGE);
      if (call.stream) response?.received(MESSAGE);
      if (faulty || call.stream) return;
      response?.ended(now);
      if (!call.served) {
        call.served = true;
        call.took = now - call.at;
        call.by = index;
      }
      attempt.end(true, now - began, now);
      this.#detector.record(attempt.pick.endpoint.key, "success", now);
    });
  }

  #result(): SimulatedCalls {
    const counted = this.#calls.filter(
      ({ at, stream }) => at < END - PATIENCE && !stream,
    );
    const last = counted.filter(({ at }) => at > END - 2 * PATIENCE);
    return {
      calls: counted.length,
      failed: counted
        .filter(({ took }) => took > PATIENCE)
        .map(({ at }) => Math.round(at - FROM)),
      p99: quantile(counted),
      quietP99: quantile(counted.filter(({ at }) => at < FROM - PATIENCE)),
      share: last.filter(({ by }) => by === 0).length / last.length,
      ejections: this.#ejections,
      asked: this.#asked,
    };
  }
}

function quantile(calls: readonly Call[]): number {
  const sorted = calls.map(({ took }) => took).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length * 0.99)] ?? Infinity;
}
