import t from "tap";
import type { Endpoint } from "../../../../src/policy/snapshot.ts";
import { hostPortOf } from "../../../../src/proxy/upstream/cluster/places.ts";

void t.test("an endpoint is named by where connections to it go", (t) => {
  const endpoint: Endpoint = {
    key: "shop/orders-1",
    workload: "orders-1",
    address: "10.0.0.7",
    port: 8080,
    link: 15_008,
    identity: undefined,
    weight: 1,
    locality: "",
    distance: 0,
    ready: true,
  };
  t.equal(hostPortOf(endpoint), "10.0.0.7:15008");
  t.equal(hostPortOf({ ...endpoint, link: undefined }), "10.0.0.7:8080");
  t.equal(hostPortOf({ ...endpoint, address: "fd00::7" }), "[fd00::7]:15008");
  t.end();
});
