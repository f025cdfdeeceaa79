/** Starts the process under test from a given tree of sources, and asks it what its thread has used. */
import { fork, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import type { CredentialPems } from "../../../src/identity/credentials.ts";
import { cleanEnvironment, ROOT } from "../demo.ts";

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
  { readonly kind: "cpu"; readonly id: number } | { readonly kind: "end" };

export type Answer =
  | {
      readonly kind: "ready";
      readonly ports: TargetPorts;
      readonly pems: CredentialPems;
    }
  | { readonly kind: "cpu"; readonly id: number; readonly microseconds: number }
  | { readonly kind: "stall"; readonly milliseconds: number };

export interface Target {
  readonly ports: TargetPorts;
  /** Of a caller within the mesh. */
  readonly pems: CredentialPems;
  /** Runs when one turn of the event loop has used this many milliseconds of CPU. */
  onStall: (milliseconds: number) => void;
  /** Microseconds of CPU that its thread has used since its start. */
  cpu(): Promise<number>;
  /** It has ended by itself, with these words. */
  readonly died: Promise<string>;
  stop(): Promise<void>;
}

/** `root`: the checkout whose sources run; this one's unless given. */
export async function startTarget(
  options: TargetOptions,
  root: string = ROOT,
): Promise<Target> {
  const folder = join(root, "test", "support", "fuzz");
  const child: ChildProcess = fork(
    join(folder, "target.ts"),
    [JSON.stringify(options)],
    {
      cwd: root,
      execArgv: ["--import", join(folder, "captured.ts")],
      env: {
        ...cleanEnvironment(),
        WHERRY_FUZZ_APP_PORT: String(options.appPorts.http),
      },
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    },
  );
  let printed = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    printed = (printed + chunk.toString()).slice(-4000);
  });
  const died = new Promise<string>((resolve) =>
    child.once("exit", (code, signal) =>
      resolve(`the target ended (${code ?? signal ?? "?"}): ${printed}`),
    ),
  );
  const waiting = new Map<number, (microseconds: number) => void>();
  let asked = 0;
  const ready = Promise.withResolvers<Extract<Answer, { kind: "ready" }>>();
  void died.then((why) => ready.reject(new Error(why)));
  const ask = (question: Question): void => {
    if (child.connected) child.send(question);
  };
  child.on("message", (message) => {
    const answer = message as Answer;
    switch (answer.kind) {
      case "ready":
        ready.resolve(answer);
        return;
      case "cpu":
        waiting.get(answer.id)?.(answer.microseconds);
        waiting.delete(answer.id);
        return;
      case "stall":
        target.onStall(answer.milliseconds);
    }
  });
  const { ports, pems } = await ready.promise;
  const target: Target = {
    ports,
    pems,
    onStall: () => undefined,
    cpu: () =>
      new Promise((resolve) => {
        asked += 1;
        waiting.set(asked, resolve);
        ask({ kind: "cpu", id: asked });
      }),
    died,
    async stop() {
      child.kill("SIGKILL");
      await died;
    },
  };
  return target;
}
