/** The services of the demo shop, and their ports. */
import { freePort, isFree } from "./free-port.ts";

export interface Instance {
  /** "payments-v1-1" */
  readonly name: string;
  readonly service: "web" | "catalog" | "orders" | "payments";
  readonly version: string;
  readonly ports: InstancePorts;
}

/** All on loopback. */
export interface InstancePorts {
  readonly application: number;
  readonly outbound: number;
  readonly link: number;
  readonly admin: number;
  readonly metrics: number;
}

export interface ShopPorts {
  readonly api: number;
  readonly push: number;
  /** Traces, and the starting and stopping of instances. */
  readonly control: number;
  /** Where the web shop is published to callers without a sidecar. */
  readonly web: number;
}

export interface Shop {
  readonly ports: ShopPorts;
  readonly instances: readonly Instance[];
}

const MEMBERS: readonly (readonly [string, Instance["service"], string])[] = [
  ["web-1", "web", "v1"],
  ["catalog-1", "catalog", "v1"],
  ["catalog-2", "catalog", "v1"],
  ["orders-1", "orders", "v1"],
  ["orders-2", "orders", "v1"],
  ["payments-v1-1", "payments", "v1"],
  ["payments-v1-2", "payments", "v1"],
  ["payments-v2-1", "payments", "v2"],
  ["payments-v2-2", "payments", "v2"],
];

/** Ports that people know, for web-1 and the control plane; the rest counts up from 16000. */
const WELL_KNOWN: ShopPorts = {
  api: 15080,
  push: 15012,
  control: 15090,
  web: 8080,
};
const WEB_PORTS: InstancePorts = {
  application: 16000,
  outbound: 15001,
  link: 15008,
  admin: 15000,
  metrics: 15020,
};

/** Lays the shop out on its usual ports, or on others where one is taken; with `anyPorts`, on whatever is free. */
export async function layOut(anyPorts: boolean): Promise<Shop> {
  const taken = new Set<number>();
  const free = async (wanted: number): Promise<number> => {
    if (!anyPorts && !taken.has(wanted) && (await isFree(wanted))) {
      taken.add(wanted);
      return wanted;
    }
    let port = await freePort();
    while (taken.has(port)) port = await freePort();
    taken.add(port);
    return port;
  };
  const ports = {
    api: await free(WELL_KNOWN.api),
    push: await free(WELL_KNOWN.push),
    control: await free(WELL_KNOWN.control),
    web: await free(WELL_KNOWN.web),
  };
  const instances: Instance[] = [];
  for (const [index, [name, service, version]] of MEMBERS.entries()) {
    const base = 16_000 + index * 10;
    const usual =
      index === 0
        ? WEB_PORTS
        : {
            application: base,
            outbound: base + 1,
            link: base + 2,
            admin: base + 3,
            metrics: base + 4,
          };
    instances.push({
      name,
      service,
      version,
      ports: {
        application: await free(usual.application),
        outbound: await free(usual.outbound),
        link: await free(usual.link),
        admin: await free(usual.admin),
        metrics: await free(usual.metrics),
      },
    });
  }
  return { ports, instances };
}
