/** A control plane as a process of its own, whose machine a test takes away. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { call, eventually, type Called } from "../peers/call.ts";
import {
  startWherry,
  stateOf,
  throwIfEnded,
  type WherryOptions,
  type WherryProcess,
} from "./wherry-process.ts";

export interface PlaneProcess {
  readonly process: WherryProcess;
  /** "http://127.0.0.1:15080" */
  readonly api: string;
  /** "127.0.0.1:15012" */
  readonly push: string;
  readonly ask: (
    method: "GET" | "PUT" | "POST" | "DELETE",
    path: string,
    body?: unknown,
  ) => Promise<Called>;
  /** An enrolment token of `shop/ACCOUNT`. */
  readonly token: (account: string) => Promise<string>;
}

/** A disk that is busy with something else may take seconds for each fsync of a first start. */
const WITHIN = 60_000;

const ADDRESSES = /"api":"([^"]+)","push":"([^"]+)"/;

/** Resolves once it is ready. `ports`: those of a plane that ran before. */
export async function startPlane(
  state: string,
  options: WherryOptions & {
    readonly ports?: { readonly api: string; readonly push: string };
    /** Options of the command besides. */
    readonly more?: readonly string[];
  } = {},
): Promise<PlaneProcess> {
  const { api: apiAddress = "127.0.0.1:0", push: pushAddress = "127.0.0.1:0" } =
    options.ports ?? {};
  const process = startWherry(
    [
      ...["control-plane", "--state", state, "--profile", "development"],
      ...["--api", apiAddress, "--push", pushAddress],
      ...(options.more ?? []),
    ],
    options,
  );
  try {
    const { api, push } = await eventually(
      "the control plane is up",
      WITHIN,
      () => {
        throwIfEnded(process);
        const [, api = "", push = ""] = ADDRESSES.exec(process.log) ?? [];
        // Looked up for the message of a wait in vain alone.
        return Promise.resolve({ api, push, toJSON: () => stateOf(process) });
      },
      (found) => found.api !== "",
    );
    const admin = (await readFile(join(state, "admin.token"), "utf8")).trim();
    const ask: PlaneProcess["ask"] = (method, path, body) =>
      call(`${api}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${admin}`,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    const token = async (account: string): Promise<string> => {
      const { status, text } = await ask("POST", "/tokens/enrolment", {
        namespace: "shop",
        serviceAccount: account,
        labels: { app: account },
        ttl: "1h",
        uses: 1,
      });
      if (status !== 201) throw new Error(`no token: ${status} ${text}`);
      return (JSON.parse(text) as { token: string }).token;
    };
    return { process, api, push, ask, token };
  } catch (thrown) {
    await process.stop();
    throw thrown;
  }
}
