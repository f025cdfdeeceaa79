/** Starts the process under test from a given tree of sources, and asks it what its thread has used. */
import { fork, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import type { CredentialPems } from "../../../../src/identity/credentials.ts";
import { newEnvironment, ROOT } from "../../processes/demo.ts";
import { whereItStands } from "./where-it-stands.ts";

/** Milliseconds without an answer after which its event loop is held for good: what is slow answers in a second. */
const HELD_FOR_GOOD = 60_000;

export interface AppPorts {
  readonly http: number;
  readonly canary: number;
  /** The same application, under another name and port. */
  readonly admin: number;
  /** One that no policy is for. */
  readonly open: number;
}

export interface TargetOptions {
  readonly appPorts: AppPorts;
  readonly appProtocol: "http" | "http2";
}

export interface TargetPorts {
  readonly outbound: number;
  readonly captured: number;
  readonly published: number;
  readonly link: number;
}

export type Question =
  | { readonly kind: "cpu"; readonly id: number }
  | { readonly kind: "end" };

export type Answer =
  | {
      readonly kind: "ready";
      readonly ports: TargetPorts;
      readonly pems: CredentialPems;
    }
  | ({ readonly kind: "cpu"; readonly id: number } & Usage)
  | { readonly kind: "stall"; readonly milliseconds: number };

/** Of its thread, since its start. */
interface Usage {
  /** Of CPU. */
  readonly microseconds: number;
  /** Milliseconds in which its event loop had nothing to do. */
  readonly idle: number;
}

export interface Target {
  readonly ports: TargetPorts;
  /** Of a caller within the mesh. */
  readonly pems: CredentialPems;
  /** `run` is called when one turn of the event loop has used this many milliseconds of CPU. */
  onStall(run: (milliseconds: number) => void): void;
  /** Microseconds of CPU that its thread has used since its start. */
  cpu(): Promise<number>;
  /** Milliseconds in which its event loop had nothing to do, since its start. */
  idle(): Promise<number>;
  /** It has ended by itself, or answers no more, with these words. */
  readonly died: Promise<string>;
  stop(): Promise<void>;
}

/** `root`: the checkout whose sources run; this one's unless given. */
export async function startTarget(
  options: TargetOptions,
  root: string = ROOT,
): Promise<Target> {
  const folder = join(root, "test", "support", "fuzz", "target");
  const child: ChildProcess = fork(
    join(folder, "target.ts"),
    [JSON.stringify(options)],
    {
      cwd: root,
      execArgv: [
        ...["--import", join(folder, "captured.ts")],
        "--inspect-port=127.0.0.1:0",
      ],
      env: {
        ...newEnvironment(),
        WHERRY_FUZZ_APP_PORT: String(options.appPorts.http),
      },
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    },
  );
  let printed = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    printed = (printed + chunk.toString()).slice(-4000);
  });
  const ended = new Promise<string>((resolve) =>
    child.once("exit", (code, signal) =>
      resolve(`the target ended (${code ?? signal ?? "?"}): ${printed}`),
    ),
  );
  const held = Promise.withResolvers<string>();
  const died = Promise.race([ended, held.promise]);
  const waiting = new Map<number, (usage: Usage) => void>();
  let asked = 0;
  const ready = Promise.withResolvers<Extract<Answer, { kind: "ready" }>>();
  void died.then((why) => ready.reject(new Error(why)));
  const ask = (question: Question): void => {
    if (child.connected) child.send(question);
  };
  // Until there is a fuzzer, nobody is to blame for the start.
  let onStall = (_milliseconds: number): void => undefined;
  child.on("message", (message) => {
    const answer = message as Answer;
    switch (answer.kind) {
      case "ready":
        ready.resolve(answer);
        return;
      case "cpu":
        waiting.get(answer.id)?.(answer);
        waiting.delete(answer.id);
        return;
      case "stall":
        onStall(answer.milliseconds);
    }
  });
  const usage = (): Promise<Usage> =>
    new Promise((resolve) => {
      const late = setTimeout(() => {
        void whereItStands(child, () => printed).then((where) =>
          held.resolve(`the target answers no more; it stands ${where}`),
        );
      }, HELD_FOR_GOOD);
      asked += 1;
      waiting.set(asked, (used) => {
        clearTimeout(late);
        resolve(used);
      });
      ask({ kind: "cpu", id: asked });
    });
  const { ports, pems } = await ready.promise;
  return {
    ports,
    pems,
    onStall(run) {
      onStall = run;
    },
    cpu: async () => (await usage()).microseconds,
    idle: async () => (await usage()).idle,
    died,
    async stop() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}
