/** A resource is judged against what the store holds, asked for as the check goes. */
import t from "tap";
import { checkAgainstStore } from "../../src/control-plane/checks.ts";
import { openMemoryStore } from "../../src/control-plane/store/memory.ts";
import type { Resource } from "../../src/resources/envelope.ts";
import { fakeClock } from "../support/fake-clock.ts";

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

void t.test("hosts of external Services", async (t) => {
  const clock = fakeClock();
  const store = openMemoryStore({ clock });
  const external = (name: string, host: string): Resource => ({
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Service",
    metadata: {
      name,
      namespace: name,
      // what a writer says of its age is not believed
      creationTimestamp: "1999-01-01T00:00:00Z",
    },
    spec: {
      location: "MESH_EXTERNAL",
      hosts: [host],
      ports: [{ port: 443, appProtocol: "tls" }],
    },
  });
  await store.put(external("first", "api.partner.example"), undefined);
  clock.advance(1000);
  await store.put(external("second", "api.other.example"), undefined);
  const problems = async (resource: Resource, domain = "mesh.example") =>
    (await checkAgainstStore(resource, store, domain, 0)).map(
      ({ path, message, severity = "error" }) =>
        `${severity} ${path}: ${message}`,
    );
  t.same(await problems(external("first", "api.partner.example")), []);
  t.match(await problems(external("second", "api.partner.example")), [
    /^warning spec\.hosts\[0\]: host api\.partner\.example belongs to Service first\/first/,
  ]);
  t.match(await problems(external("third", "api.partner.example")), [
    /^warning .*namespace first claimed it first/,
  ]);
  t.same(
    await problems(external("first", "api.other.example")),
    [],
    "a Service keeps its age when its hosts change",
  );
  t.match(await problems(external("third", "orders.first")), [
    /^error spec\.hosts\[0\]: .*Service orders in namespace first/,
  ]);
  t.match(await problems(external("third", "a.b.svc.mesh.example")), [
    /^error spec\.hosts\[0\]: .*own name/,
  ]);
});
