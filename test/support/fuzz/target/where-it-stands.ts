/** Where a process stands whose event loop turns no more: its inspector has a thread of its own, and stops it even in an endless loop. */
import type { ChildProcess } from "node:child_process";

/** Milliseconds. */
const PATIENCE = 10_000;
const LISTENING = /ws:\/\/\S+/;

interface Said {
  readonly method?: string;
  readonly params?: {
    /** Of a script that was parsed. */
    readonly scriptId?: string;
    readonly url?: string;
    readonly callFrames?: readonly {
      readonly functionName: string;
      readonly location: {
        readonly scriptId: string;
        readonly lineNumber: number;
      };
    }[];
  };
}

/** Resolves with its call stack, or with why there is none. `printed`: what it has written to standard error, where it was started with `--inspect-port=127.0.0.1:0`. */
export async function whereItStands(
  child: ChildProcess,
  printed: () => string,
): Promise<string> {
  const signal = AbortSignal.timeout(PATIENCE);
  const late = new Promise<string>((resolve) =>
    signal.addEventListener("abort", () =>
      resolve("somewhere outside of JavaScript"),
    ),
  );
  const opened = new Promise<string>((resolve) =>
    child.stderr?.on("data", () => {
      const [url] = LISTENING.exec(printed()) ?? [];
      if (url !== undefined) resolve(url);
    }),
  );
  child.kill("SIGUSR1");
  const url = await Promise.race([opened, late]);
  return url.startsWith("ws:") ? Promise.race([stackOf(url), late]) : url;
}

function stackOf(url: string): Promise<string> {
  const inspector = new WebSocket(url);
  const scripts = new Map<string, string>();
  return new Promise((resolve) => {
    inspector.addEventListener("open", () => {
      inspector.send(JSON.stringify({ id: 1, method: "Debugger.enable" }));
      inspector.send(JSON.stringify({ id: 2, method: "Debugger.pause" }));
    });
    inspector.addEventListener("message", ({ data }) => {
      const { method, params } = JSON.parse(String(data)) as Said;
      if (method === "Debugger.scriptParsed")
        scripts.set(params?.scriptId ?? "", params?.url ?? "");
      if (method !== "Debugger.paused") return;
      resolve(
        (params?.callFrames ?? [])
          .map(
            ({ functionName, location }) =>
              `at ${functionName} (${scripts.get(location.scriptId) ?? ""}:${location.lineNumber + 1})`,
          )
          .join("\n"),
      );
      inspector.close();
    });
  });
}
