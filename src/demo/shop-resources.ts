/** The resources of the demo: the YAML that is in config/, and the one that needs a port of this machine. */
import { readFile } from "node:fs/promises";
import { parseAllDocuments } from "yaml";
import { PACKAGE } from "../runtime/package.ts";
import type { Resource } from "../resources/envelope.ts";
import { kindOf } from "../resources/registry.ts";
import type { Shop } from "./shop.ts";

export interface DemoResource {
  /** In the REST API. */
  readonly path: string;
  readonly body: Resource;
}

const FILE = new URL("config/demo.yaml", PACKAGE);

export async function demoResources(shop: Shop): Promise<DemoResource[]> {
  const documents = parseAllDocuments(await readFile(FILE, "utf8"));
  const resources = documents.map((document) => document.toJS() as Resource);
  return [...resources, publishedWeb(shop)].map((body) => ({
    path: pathOf(body),
    body,
  }));
}

/** The mesh takes mTLS only; the one port that is published to browsers takes plaintext as well. */
function publishedWeb(shop: Shop): Resource {
  const application =
    shop.instances.find(({ service }) => service === "web")?.ports
      .application ?? 0;
  return {
    apiVersion: "security.istio.io/v1",
    kind: "PeerAuthentication",
    metadata: { name: "web", namespace: "shop" },
    spec: {
      selector: { matchLabels: { app: "web" } },
      mtls: { mode: "STRICT" },
      portLevelMtls: { [String(application)]: { mode: "PERMISSIVE" } },
    },
  };
}

function pathOf(resource: Resource): string {
  const kind = kindOf(resource.apiVersion, resource.kind);
  if (kind === undefined)
    throw new Error(
      `config/demo.yaml holds ${resource.apiVersion} ${resource.kind}, which does not exist`,
    );
  const where = kind.namespaced
    ? `/namespaces/${resource.metadata.namespace ?? "default"}`
    : "";
  return `/apis/${kind.group}/${kind.version}${where}/${kind.plural}/${resource.metadata.name}`;
}
