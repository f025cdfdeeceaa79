/** A target, an application and a fuzzer between them, taken down again whatever comes. */
import { randomInt } from "node:crypto";
import { drawn } from "../drawn.ts";
import { listenersOf } from "./listeners.ts";
import { Fuzzer, type Game } from "./fuzzer.ts";
import { HostileApp } from "./applications/hostile-app.ts";
import { HostileHttp2App } from "./applications/hostile-http2-app.ts";
import type { AppUnderFuzz } from "./outcome.ts";
import { RecordingApp } from "./applications/recording-app.ts";
import { requestGame } from "./request-game.ts";
import { responseOf, type FuzzResponse } from "./responses/response.ts";
import {
  framedResponseOf,
  type FramedResponse,
} from "./responses/response-http2.ts";
import { responseGame, saidInFrames, saidInText } from "./response-game.ts";
import {
  startTarget,
  type AppPorts,
  type Target,
} from "./target/target-process.ts";

/** Another one in each run, so that runs add up; WHERRY_FUZZ_SEED makes the cases of one again. */
export const SEED: number = Number(
  process.env["WHERRY_FUZZ_SEED"] ?? randomInt(2 ** 31),
);

/** How many messages are sent. */
export const REQUESTS: number = drawn("WHERRY_FUZZ_REQUESTS", 12_000, 200_000);
export const RESPONSES: number = drawn("WHERRY_FUZZ_RESPONSES", 5000, 50_000);
/** The same of an application that speaks HTTP/2: a half of them. */
export const FRAMED_RESPONSES: number = Math.ceil(RESPONSES / 2);

export interface Bench<App> {
  readonly fuzzer: Fuzzer;
  readonly target: Target;
  readonly app: App;
}

/** The checkout whose sources are under test, where it is not this one. */
const OTHER_ROOT = process.env["WHERRY_FUZZ_ROOT"];

/** Requests of every kind, and an application that keeps what it gets. */
export async function withRequestFuzzer(
  use: (bench: Bench<RecordingApp>) => Promise<void>,
  root: string | undefined = OTHER_ROOT,
): Promise<void> {
  const app = new RecordingApp();
  const appPorts = {
    http: await app.listen("http"),
    canary: await app.listen("canary"),
    admin: await app.listen("http"),
    open: await app.listen("open"),
  };
  await withFuzzer(app, appPorts, requestGame(SEED, app), root, "http", use);
}

/** Plain requests, and an application that responds with everything. */
export async function withResponseFuzzer(
  use: (bench: Bench<HostileApp>) => Promise<void>,
  root: string | undefined = OTHER_ROOT,
): Promise<void> {
  const responses = (index: number): FuzzResponse => responseOf(SEED, index);
  const app = new HostileApp(responses);
  const appPorts = {
    http: await app.listen(),
    canary: await app.listen(),
    admin: await app.listen(),
    open: await app.listen(),
  };
  const game = responseGame((index) => saidInText(responses(index)));
  await withFuzzer(app, appPorts, game, root, "http", use);
}

/** The same, where the application speaks HTTP/2. */
export async function withFramedResponseFuzzer(
  use: (bench: Bench<HostileHttp2App>) => Promise<void>,
): Promise<void> {
  const responses = (index: number): FramedResponse =>
    framedResponseOf(SEED, index);
  const app = new HostileHttp2App(responses);
  const appPorts = {
    http: await app.listen(),
    canary: await app.listen(),
    admin: await app.listen(),
    open: await app.listen(),
  };
  const game = responseGame((index) => saidInFrames(responses(index)));
  await withFuzzer(app, appPorts, game, OTHER_ROOT, "http2", use);
}

async function withFuzzer<App extends AppUnderFuzz & { close(): void }>(
  app: App,
  appPorts: AppPorts,
  game: Game,
  root: string | undefined,
  appProtocol: "http" | "http2",
  use: (bench: Bench<App>) => Promise<void>,
): Promise<void> {
  const target = await startTarget({ appPorts, appProtocol }, root).catch(
    (failed: unknown) => {
      // The application's ports would keep the process alive.
      app.close();
      throw failed;
    },
  );
  const fuzzer = new Fuzzer(SEED, listenersOf(target), target, app, game);
  try {
    await Promise.race([
      use({ fuzzer, target, app }),
      Promise.race([target.died, fuzzer.stuck]).then((why) =>
        Promise.reject(new Error(why)),
      ),
    ]);
  } finally {
    fuzzer.close();
    await target.stop();
    app.close();
  }
}
