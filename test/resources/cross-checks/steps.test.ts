/** No step of a check of all resources together looks at more than some hundreds of them, so that whoever serves meanwhile goes on (law 16). */
import t from "tap";
import { checkTogether } from "../../../src/resources/cross-checks/check-together.ts";
import {
  formatKey,
  keyOf,
  type Resource,
} from "../../../src/resources/envelope.ts";
import {
  authorizationPolicy,
  httpRoute,
  mesh,
  peerAuthentication,
  service,
  trafficPolicy,
  workload,
} from "../../support/resources/policy-fixtures.ts";

const COUNT = 3000;
/** A step may ask 256 resources for their kind, each up to twice, with the version of each. */
const MOST = 1100;

let looks = 0;

/** Counts each look at what it is and says. */
function counted(resource: Resource): Resource {
  const seen = { ...resource };
  for (const field of ["apiVersion", "kind", "metadata", "spec"] as const)
    Object.defineProperty(seen, field, {
      enumerable: true,
      get() {
        looks += 1;
        return resource[field];
      },
    });
  return seen;
}

const MAKE: Readonly<Record<string, (name: string) => Resource>> = {
  Services: (name) => service(`shop/${name}`),
  "Services for bytes": (name) =>
    service(`shop/${name}`, { ports: [{ port: 5432, appProtocol: "tcp" }] }),
  "external Services": (name) =>
    service(`shop/${name}`, {
      location: "MESH_EXTERNAL",
      hosts: [`${name}.example.com`],
    }),
  Workloads: (name) => workload(`shop/${name}`, "web"),
  "Workloads that claim one address": (name) => workload(`shop/${name}`, name),
  HTTPRoutes: (name) =>
    httpRoute(`shop/${name}`, {
      parentRefs: [{ group: "mesh.wherry.dev", kind: "Service", name }],
      rules: [{ backendRefs: [{ name, port: 80 }] }],
    }),
  "HTTPRoutes with what is never reached": (name) =>
    httpRoute(`shop/${name}`, {
      parentRefs: [{ group: "mesh.wherry.dev", kind: "Service", name: "web" }],
      rules: [
        { matches: [{ path: { type: "RegularExpression", value: "/a+" } }] },
        {},
      ],
    }),
  TrafficPolicies: (name) =>
    trafficPolicy(`shop/${name}`, { targetRefs: [{ kind: "Service", name }] }),
  PeerAuthentications: (name) =>
    peerAuthentication(`shop/${name}`, {
      selector: { matchLabels: { app: name } },
      mtls: { mode: "STRICT" },
    }),
  AuthorizationPolicies: (name) =>
    authorizationPolicy(`shop/${name}`, {
      selector: { matchLabels: { app: name } },
      rules: [{}],
    }),
};

for (const [what, make] of Object.entries(MAKE))
  void t.test(`${COUNT} ${what}`, (t) => {
    const all = [
      ...Array.from({ length: COUNT }, (_, at) => make(`n${at}`)),
      mesh(),
    ].map((each) => ({ resource: counted(each) }));
    const byKey = new Map(
      all.map(({ resource }) => [formatKey(keyOf(resource)), resource]),
    );
    const lookup = (
      key: Parameters<typeof formatKey>[0],
    ): Resource | undefined => byKey.get(formatKey(key));
    const steps = checkTogether(all, lookup, undefined);
    let most = 0;
    let sum = 0;
    for (let done = false; !done;) {
      looks = 0;
      done = steps.next().done === true;
      most = Math.max(most, looks);
      sum += looks;
    }
    t.ok(most <= MOST, `${most} looks in one step, ${sum} in all`);
    t.ok(sum > COUNT * 5, "looks are counted");
    t.end();
  });
