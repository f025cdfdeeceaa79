/** A resource is judged against what the store holds, asked for as the check goes. */
import t from "tap";
import { checkAgainstStore } from "../../src/control-plane/checks.ts";
import { openMemoryStore } from "../../src/control-plane/store/memory.ts";
import type { Resource } from "../../src/resources/envelope.ts";
import { fakeClock } from "../harness/fake-clock.ts";

void t.test("references and the trust domain", async (t) => {
  const store = openMemoryStore({ clock: fakeClock() });
  const route = (port: number): Resource => ({
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    metadata: { name: "r", namespace: "shop" },
    spec: {
      parentRefs: [{ name: "a", kind: "Service", port: 80 }],
      rules: [{ backendRefs: [{ name: "b", port }] }],
    },
  });
  for (const name of ["a", "b"])
    await store.put(
      {
        apiVersion: "mesh.wherry.dev/v1alpha1",
        kind: "Service",
        metadata: { name, namespace: "shop" },
        spec: { ports: [{ port: 80 }], selector: { app: name } },
      },
      undefined,
    );
  const paths = async (resource: Resource, domain = "cluster.local") =>
    (await checkAgainstStore(resource, store, domain, 0)).map(
      ({ path }) => path,
    );
  t.same(await paths(route(80)), []);
  t.same(await paths(route(81)), ["spec.rules[0].backendRefs[0].port"]);
  const mesh = (trustDomain?: string): Resource => ({
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Mesh",
    metadata: { name: "default" },
    spec: {
      authorization: { defaultAction: "ALLOW" },
      ...(trustDomain === undefined ? {} : { trustDomain }),
    },
  });
  t.same(await paths(mesh()), []);
  t.same(await paths(mesh("a.b"), "a.b"), []);
  t.same(await paths(mesh("a.b")), ["spec.trustDomain"]);
  t.same(
    await paths(mesh(), "a.b"),
    ["spec.trustDomain"],
    "left out, it would be the default and not what the authority issues for",
  );
});
