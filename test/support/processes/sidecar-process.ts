/** Sidecars as processes of their own: of a control plane, or with files in its place. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { CredentialPems } from "../../../src/identity/credentials.ts";
import { call, eventually, type Called } from "../peers/call.ts";
import {
  startWherry,
  stateOf,
  throwIfEnded,
  type WherryOptions,
  type WherryProcess,
} from "./wherry-process.ts";

/** As for a control plane: a first start writes to a disk that may be busy. */
const WITHIN = 60_000;

/** The second asks for the application as well. */
export type Readiness = "/readyz" | "/readyz?application";

export interface SidecarProcess {
  readonly process: WherryProcess;
  readonly outbound: number;
  readonly link: number;
  readonly admin: number;
  readonly metrics: number;
  /** The status of its readiness; 0 where nothing responds. "/readyz" unless another page is given. */
  ready(page?: Readiness): Promise<number>;
  /** The sum of the series whose line begins with `name` and contains all of `parts`. */
  metric(name: string, ...parts: string[]): Promise<number>;
}

export interface SidecarProcessOptions extends WherryOptions {
  readonly push: string;
  readonly account: string;
  /** "ACCOUNT-1" unless given. */
  readonly name?: string;
  readonly state: string;
  /** Port of its application on 127.0.0.1. */
  readonly application: number;
  readonly token?: string;
  readonly more?: readonly string[];
}

/** Not waited for: `untilReady` does. */
export function startSidecarProcess(
  options: SidecarProcessOptions,
): Promise<SidecarProcess> {
  const { push, account, state, application, token, more = [] } = options;
  const { name = `${account}-1` } = options;
  return startSidecar(
    name,
    [
      ...["--control-plane", push, "--state", state],
      ...["--address", "127.0.0.1", "--app-port", `http=${application}`],
      ...(token === undefined ? [] : ["--token", token]),
      ...more,
    ],
    options,
  );
}

export interface FileSidecarOptions {
  readonly name: string;
  /** Value of its label `app`. */
  readonly app: string;
  readonly resources: string;
  /** Absent: `more` says where its certificate comes from. */
  readonly credentials?: CredentialPems;
  /** For its files, and for its state in a folder of that name; made where it is missing. */
  readonly directory: string;
  readonly more?: readonly string[];
  /** Told of the process before it listens. */
  readonly onStart?: (process: WherryProcess) => void;
}

/** A sidecar whose resources and certificate are files. Not waited for. */
export async function startFileSidecar(
  options: FileSidecarOptions,
): Promise<SidecarProcess> {
  const { name, app, resources, credentials, directory, more = [] } = options;
  await mkdir(directory, { recursive: true });
  const file = async (title: string, text: string): Promise<string> => {
    const path = join(directory, title);
    await writeFile(path, text, { mode: 0o600 });
    return path;
  };
  return startSidecar(
    name,
    [
      ...["--label", `app=${app}`, "--state", join(directory, "state")],
      ...["--resources", await file("mesh.yaml", resources)],
      ...(credentials === undefined
        ? []
        : [
            "--certificate",
            await file("leaf.pem", credentials.certificateChain),
            ...[
              "--private-key",
              await file("leaf.key", credentials.privateKey),
            ],
            ...[
              "--trust-bundle",
              await file("root.pem", credentials.trustBundle),
            ],
          ]),
      ...more,
    ],
    options,
  );
}

/** Resolves once it listens, on ports of the system's choosing where `args` name no others. */
async function startSidecar(
  name: string,
  args: readonly string[],
  options: WherryOptions & Pick<FileSidecarOptions, "onStart"> = {},
): Promise<SidecarProcess> {
  const process = startWherry(
    [
      ...["sidecar", "--name", name, "--host", "127.0.0.1", "--no-capture"],
      ...["outbound", "link", "admin", "metrics"].flatMap((port) => [
        `--${port}-port`,
        "0",
      ]),
      ...args,
    ],
    options,
  );
  options.onStart?.(process);
  const portOf = (port: string): number =>
    Number(new RegExp(`"${port}":(\\d+)`).exec(process.log)?.[1] ?? 0);
  try {
    await eventually(
      `the sidecar ${name} listens`,
      WITHIN,
      () => {
        throwIfEnded(process);
        // Looked up for the message of a wait in vain alone.
        const toJSON = (): string => stateOf(process);
        return Promise.resolve({ port: portOf("metrics"), toJSON });
      },
      ({ port }) => port !== 0,
    );
  } catch (thrown) {
    await process.stop();
    throw thrown;
  }
  const page = (path: string): Promise<Called> =>
    call(`http://127.0.0.1:${portOf("metrics")}${path}`);
  return {
    process,
    outbound: portOf("outbound"),
    link: portOf("link"),
    admin: portOf("admin"),
    metrics: portOf("metrics"),
    ready: async (path = "/readyz") => (await page(path)).status,
    async metric(name, ...parts) {
      const { text } = await page("/metrics");
      return text
        .split("\n")
        .filter(
          (line) =>
            line.startsWith(name) && parts.every((part) => line.includes(part)),
        )
        .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
    },
  };
}

export async function untilReady(
  what: string,
  { process, ready }: Pick<SidecarProcess, "process" | "ready">,
  page?: Readiness,
): Promise<void> {
  await eventually(
    `${what} is ready`,
    WITHIN,
    () => {
      throwIfEnded(process);
      return ready(page);
    },
    (status) => status === 200,
  );
}
