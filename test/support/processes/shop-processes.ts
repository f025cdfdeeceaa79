/** A caller "web" and a callee "orders" as processes of their own, with a control plane: what outages and jumping clocks are tried on. */
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CREDENTIALS_FILE } from "../../../src/agent/enrolment/kept-credentials.ts";
import { call, closeCalls, eventually, type Called } from "../peers/call.ts";
import { startPlane, type PlaneProcess } from "./plane-process.ts";
import {
  startSidecarProcess,
  untilReady,
  type SidecarProcess,
} from "./sidecar-process.ts";
import type { WherryOptions } from "./wherry-process.ts";

/** Where a process runs. */
export type Environment = Pick<WherryOptions, "environment" | "prefix">;

export interface ShopProcesses {
  readonly directory: string;
  readonly plane: PlaneProcess;
  sidecar(account: string): SidecarProcess;
  /** Names of the sidecars whose streams the control plane has. */
  connected(): Promise<readonly string[]>;
  /** Calls orders from web. */
  call(from?: SidecarProcess): Promise<Called>;
  /** Writes a resource; `path`: "namespaces/shop/services". */
  put(path: string, resource: Put): Promise<void>;
  /** Kills the control plane. */
  killPlane(): Promise<void>;
  /** Starts it again, where it was. */
  returnPlane(place?: Environment): Promise<void>;
  /** Starts the sidecar of the account, with a token where it has no certificate yet. */
  start(account: string, place?: Environment): Promise<SidecarProcess>;
  /** Starts another process of the sidecar, which takes over from the one that runs; resolves once it has. */
  takeOver(account: string, more?: readonly string[]): Promise<SidecarProcess>;
  close(): Promise<void>;
}

/** `mtls` of the Mesh is in force before anybody enrols. */
export async function startShop(
  options: {
    readonly mtls?: Readonly<Record<string, unknown>>;
    /** Options of each sidecar besides. */
    readonly more?: readonly string[];
    /** Options of one sidecar besides, by its account. */
    readonly own?: Readonly<Record<string, readonly string[]>>;
    readonly places?: Readonly<Record<"plane" | "web" | "orders", Environment>>;
  } = {},
): Promise<ShopProcesses> {
  const directory = mkdtempSync(join(tmpdir(), "wherry-shop-"));
  const applications = new Map<string, Server>();
  const portOf = async (account: string): Promise<number> => {
    const server = applications.get(account) ?? (await serve());
    applications.set(account, server);
    return (server.address() as AddressInfo).port;
  };
  const port = await portOf("orders");
  const sidecars = new Map<string, SidecarProcess>();
  const state = join(directory, "plane");
  const { places, mtls, own = {} } = options;
  const moreOf = (account: string): readonly string[] => [
    ...(options.more ?? []),
    ...(own[account] ?? []),
  ];
  const replaced: SidecarProcess[] = [];
  let plane = await startPlane(state, places?.plane);
  const start: ShopProcesses["start"] = async (account, place = {}) => {
    const isNew = !sidecars.has(account);
    await sidecars.get(account)?.process.stop();
    const sidecar = await startSidecarProcess({
      ...place,
      push: plane.push,
      account,
      state: join(directory, account),
      application: await portOf(account),
      more: moreOf(account),
      ...(isNew ? { token: await plane.token(account) } : {}),
    });
    sidecars.set(account, sidecar);
    await untilReady(account, sidecar);
    return sidecar;
  };
  const shop: ShopProcesses = {
    directory,
    get plane() {
      return plane;
    },
    sidecar(account) {
      const found = sidecars.get(account);
      if (found === undefined) throw new Error(`no sidecar of ${account}`);
      return found;
    },
    async connected() {
      const { text } = await plane.ask("GET", "/status");
      const { sidecars: all } = JSON.parse(text) as {
        sidecars: readonly {
          readonly name: string;
          readonly connected: boolean;
        }[];
      };
      return all.filter((each) => each.connected).map(({ name }) => name);
    },
    call: (from = sidecars.get("web")) =>
      call(`http://127.0.0.1:${from?.outbound ?? 0}/`, {
        headers: { host: "orders.shop" },
      }),
    put: (path, resource) => put(plane, path, resource),
    killPlane: () => plane.process.stop(),
    async returnPlane(place = places?.plane) {
      const { api, push } = plane;
      const ports = { api: api.slice("http://".length), push };
      plane = await startPlane(state, { ...place, ports });
    },
    start,
    async takeOver(account, besides = []) {
      const older = sidecars.get(account);
      const newer = await startSidecarProcess({
        push: plane.push,
        account,
        state: join(directory, account),
        application: await portOf(account),
        more: [...moreOf(account), "--take-over", ...besides],
      });
      sidecars.set(account, newer);
      if (older !== undefined) replaced.push(older);
      return newer;
    },
    async close() {
      closeCalls();
      for (const { process } of [...replaced, ...sidecars.values()])
        await process.stop();
      await plane.process.stop();
      for (const server of applications.values()) {
        server.closeAllConnections();
        server.close();
      }
      rmSync(directory, { recursive: true, force: true });
    },
  };
  try {
    await put(plane, "meshes", {
      kind: "Mesh",
      metadata: { name: "default" },
      spec: { authorization: { defaultAction: "ALLOW" }, mtls: mtls ?? {} },
    });
    await put(plane, "namespaces/shop/services", {
      kind: "Service",
      metadata: { name: "orders", namespace: "shop" },
      spec: {
        ports: [{ port: 80, targetPort: port }],
        selector: { app: "orders" },
      },
    });
    await start("orders", places?.orders);
    await start("web", places?.web);
    await eventually(
      "web reaches orders",
      20_000,
      () => shop.call(),
      ({ status }) => status === 200,
    );
    return shop;
  } catch (thrown) {
    await shop.close();
    throw thrown;
  }
}

/** The certificate that the sidecar of the account has on its disk. */
export async function leafOf(
  { directory }: ShopProcesses,
  account: string,
): Promise<X509Certificate> {
  const file = join(directory, account, CREDENTIALS_FILE);
  const { content } = JSON.parse(await readFile(file, "utf8")) as {
    readonly content: { readonly certificateChain: string };
  };
  return new X509Certificate(content.certificateChain);
}

/** `apiVersion` is the mesh's own where it is not said. */
interface Put {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec: unknown;
  readonly apiVersion?: string;
}

async function put(
  { ask }: PlaneProcess,
  path: string,
  resource: Put,
): Promise<void> {
  const url = `/apis/mesh.wherry.dev/v1alpha1/${path}/${resource.metadata.name}`;
  const body = { apiVersion: "mesh.wherry.dev/v1alpha1", ...resource };
  const { status, text } = await ask("PUT", url, body);
  if (status >= 300)
    throw new Error(`${resource.kind} is refused: ${status} ${text}`);
}

async function serve(): Promise<Server> {
  const server = createServer((_request, response) => response.end("served"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}
