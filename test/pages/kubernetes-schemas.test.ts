// The Kubernetes manifests under the schemas of Kubernetes itself: the first version that runs native sidecars, and the newest.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import t from "tap";
import { findTool, needs } from "../support/processes/tools.ts";
import {
  OBJECTS,
  type KubernetesObject,
} from "../support/repository/manifests.ts";

const VERSIONS = ["v1.29.0", "v1.37.0"];
const FOLDER = findTool("kubernetes-schemas") ?? "";

interface Definitions {
  readonly $id: string;
  readonly $defs: Readonly<
    Record<
      string,
      {
        readonly "x-kubernetes-group-version-kind"?: readonly {
          readonly group: string;
          readonly version: string;
          readonly kind: string;
        }[];
      }
    >
  >;
}

/** What a Kubernetes of this version says against an object; nothing where it takes it. */
type Judge = (object: object) => readonly string[];

function judgeOf(version: string): Judge {
  const definitions = JSON.parse(
    readFileSync(join(FOLDER, `${version}.json`), "utf8"),
  ) as Definitions;
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  ajv.addSchema(definitions);
  return (object) => {
    const { apiVersion, kind } = object as KubernetesObject;
    const name = Object.keys(definitions.$defs).find((each) =>
      definitions.$defs[each]?.["x-kubernetes-group-version-kind"]?.some(
        (known) =>
          known.kind === kind &&
          [known.group, known.version].filter(Boolean).join("/") === apiVersion,
      ),
    );
    if (name === undefined) return [`there is no ${apiVersion} ${kind}`];
    const $ref = `${definitions.$id}#/$defs/${name}`;
    const validate = ajv.getSchema($ref) ?? ajv.compile({ $ref });
    if (validate(object) === true) return [];
    return (validate.errors ?? []).map(
      ({ instancePath, message }) => `${instancePath} ${message ?? ""}`,
    );
  };
}

type Change = (parent: Record<string, unknown>) => void;

/** A copy of the only object of this kind and name with `change` made at the path. */
function changed(kind: string, path: string, change: Change): object {
  const object = OBJECTS.find((each) => each.kind === kind);
  if (object === undefined) throw new Error(`there is no ${kind}`);
  const copy = structuredClone(object);
  let parent = copy as unknown as Record<string, unknown>;
  for (const key of path.split(".").filter(Boolean)) {
    const next = parent[key];
    if (typeof next !== "object" || next === null)
      throw new Error(`${kind} has no ${path}`);
    parent = next as Record<string, unknown>;
  }
  change(parent);
  return copy;
}

const POD = "spec.template.spec";

const REFUSED: readonly (readonly [string, string, string, Change])[] = [
  [
    "a field that is not there",
    "Deployment",
    `${POD}.initContainers.1`,
    (at) => (at["restartPolicies"] = "Always"),
  ],
  [
    "a field in the wrong place",
    "Deployment",
    POD,
    (at) => (at["capabilities"] = { drop: ["ALL"] }),
  ],
  [
    "a pod's field in a container's context",
    "StatefulSet",
    `${POD}.containers.0.securityContext`,
    (at) => (at["fsGroup"] = 1337),
  ],
  ["text for a number", "Deployment", "spec", (at) => (at["replicas"] = "two")],
  [
    "a number for a text",
    "Deployment",
    `${POD}.initContainers.1.env.0`,
    (at) => (at["value"] = 15012),
  ],
  [
    "a mode as text",
    "Job",
    `${POD}.volumes.1.secret`,
    (at) => (at["defaultMode"] = "0440"),
  ],
  [
    "a probe without a port",
    "Deployment",
    `${POD}.initContainers.1.startupProbe.httpGet`,
    (at) => delete at["port"],
  ],
  [
    "a list for a map",
    "NetworkPolicy",
    "spec",
    (at) => (at["podSelector"] = ["app"]),
  ],
  [
    "a container without a name",
    "Job",
    `${POD}.containers.0`,
    (at) => delete at["name"],
  ],
  ["no selector", "Deployment", "spec", (at) => delete at["selector"]],
  ["another kind", "Service", "", (at) => (at["kind"] = "Servant")],
  ["another version", "Job", "", (at) => (at["apiVersion"] = "batch/v9")],
];

for (const version of VERSIONS)
  void t.test(
    `under Kubernetes ${version}`,
    needs(
      existsSync(join(FOLDER, `${version}.json`)) ? [] : ["kubernetes-schemas"],
    ),
    (t) => {
      const judge = judgeOf(version);
      t.ok(OBJECTS.length > 8);
      for (const object of OBJECTS)
        t.strictSame(
          judge(object),
          [],
          `${object.kind} ${object.metadata.name}`,
        );
      for (const [what, kind, path, change] of REFUSED)
        t.not(
          judge(changed(kind, path, change)).length,
          0,
          `${what} is refused`,
        );
      t.end();
    },
  );
