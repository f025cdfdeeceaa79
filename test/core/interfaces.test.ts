/** A machine that has no descriptor left does not tell its interfaces, which ends nothing: the look takes a socket. */
import os from "node:os";
import { syncBuiltinESMExports } from "node:module";
import t from "tap";
import { interfacesHere } from "../../src/core/interfaces.ts";

void t.test("the interfaces of this machine, and none told", (t) => {
  t.ok(interfacesHere()?.some(({ internal }) => internal));
  const { networkInterfaces } = os;
  t.teardown(() => {
    os.networkInterfaces = networkInterfaces;
    syncBuiltinESMExports();
  });
  os.networkInterfaces = () => {
    throw Object.assign(new Error("uv_interface_addresses returned EMFILE"), {
      code: "ERR_SYSTEM_ERROR",
    });
  };
  syncBuiltinESMExports();
  t.equal(interfacesHere(), undefined);
  t.end();
});
